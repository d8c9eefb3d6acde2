#!/bin/sh
# Train on the device machine from pack.sh's bundle, on as many GPUs as it has, for $1 seconds in all; the further
# arguments go to train.py. What the last call left in /tmp/sam2_nano/state is gone on from, else the bundle's weights.
set -eu
seconds=$1
shift
SAM2_NANO_START=$(python3 -c 'import time; print(time.monotonic())')
base=/tmp/sam2_nano
mkdir -p $base/code
tar -C $base/code -xzf "${BUNDLE:-.device/sam2_nano/bundle.tar.gz}"
cd $base/code
export SAM2_NANO_START PYTHONUNBUFFERED=1 PYTHONPATH=$base/code/site OMP_NUM_THREADS=4
if [ -f $base/state/state.pt ]; then resume="--resume $base/state"; elif [ -d weights ]; then resume="--resume weights --done 0"; else resume=; fi
gpus=$(python3 -c 'import torch; print(max(1, torch.cuda.device_count()))')
if [ "$gpus" -gt 1 ]; then start="python3 -m torch.distributed.run --standalone --nproc_per_node $gpus"; else start=python3; fi
train() {
    $start tools/sam2_nano/train.py --out "${OUT:-/tmp/sam2_nano/out}" --state $base/state --seconds "$seconds" \
        --samples wanlab/assets/sample --figures figures.npz "$@"
}
train $resume "$@" && exit
echo "training stopped with an error: once more, without CUDA graphs" >&2
if [ -f $base/state/state.pt ]; then resume="--resume $base/state"; fi
train $resume --no_graphs "$@"
