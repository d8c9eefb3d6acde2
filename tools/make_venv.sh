#!/bin/sh
# Make the virtual environment in folder $1 with the first Python 3.11 to 3.13 on the PATH, or say in one line what is missing.
set -eu
venv=$1
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    command -v "$python" >/dev/null 2>&1 || continue
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || continue
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "wanlab: $python has no venv module; install it (Debian and Ubuntu: apt install python3-venv) and run make again" >&2
        exit 1
    fi
    rm -rf "$venv"
    exec "$python" -m venv "$venv"
done
echo "wanlab: needs Python 3.11, 3.12 or 3.13 on the PATH, found none; install one, or name it: make PYTHON=/path/to/python3.12" >&2
exit 1
