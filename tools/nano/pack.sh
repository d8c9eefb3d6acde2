#!/bin/sh
# Put what training needs on a machine with Python 3.12, torch, transformers and nothing else into .device/nano/bundle.tar.gz
#   pack.sh PEOPLE WEIGHTS     # people.npz of make_people.py; a folder of vae_half.pt and dit_half.*.pt
set -eu
here=$(cd "$(dirname "$0")" && pwd)
site=$("${PYTHON:-python}" -c 'import diffusers, pathlib; print(pathlib.Path(diffusers.__file__).parents[1])')
out=${DEVICE:-$here/../../.device}/nano
rm -rf "$out/bundle" && mkdir -p "$out/bundle/site" "$out/bundle/weights" "$out/bundle/tools"
cp -r "$here" "$out/bundle/tools/nano"
for name in diffusers ftfy importlib_metadata requests wcwidth; do cp -r "$site/$name" "$site/$name"-*.dist-info "$out/bundle/site/"; done
find "$out/bundle" -name __pycache__ -prune -exec rm -rf {} +
packed=$1.xz  # half of what npz makes of it; a minute
if [ ! "$packed" -nt "$1" ]; then
    "${PYTHON:-python}" -c 'import sys, numpy; numpy.savez(sys.argv[2], **numpy.load(sys.argv[1]))' "$1" "$out/people.npz"
    xz -6 -T0 -c "$out/people.npz" > "$packed" && rm "$out/people.npz"
fi
cp "$packed" "$out/bundle/people.npz.xz"
cp "$2"/*.pt "$out/bundle/weights/"
tar -C "$out/bundle" -czf "$out/bundle.tar.gz" .
rm -rf "$out/bundle"
ls -l "$out/bundle.tar.gz"
