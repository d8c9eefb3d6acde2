#!/bin/sh
# On the device machine: unpack pack.sh's bundle once, then run one of the programs there, on all GPUs.
#   on_device.sh train_vae.py|train_dit.py|… ARGUMENTS
set -eu
base=/tmp/nano
if [ ! -d $base/code ]; then
    mkdir -p $base/new && tar -C $base/new -xzf "${BUNDLE:-.device/nano/bundle.tar.gz}" && xz -d $base/new/people.npz.xz
    mv $base/new $base/code
fi
cd $base/code/tools/nano
export PYTHONUNBUFFERED=1 PYTHONPATH=$base/code/site OMP_NUM_THREADS=4 NANO_BUILD=$base/build
python3 -c 'from nano import mesh; mesh.library(True)'
gpus=$(python3 -c 'import torch; print(max(1, torch.cuda.device_count()))')
if [ "$gpus" -gt 1 ]; then start="python3 -m torch.distributed.run --standalone --nproc_per_node $gpus"; else start=python3; fi
exec $start "$@"
