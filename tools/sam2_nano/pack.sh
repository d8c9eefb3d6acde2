#!/bin/sh
# Put what training needs on a machine with Python 3.12, torch, safetensors, opencv and nothing else into .device/sam2_nano/bundle.tar.gz
#   pack.sh [WEIGHTS]    # with a folder of model.safetensors and progress.json: what training goes on from, 15 MB
# figures.npz (15 MB), where figures.py has made it, and the sample clips (4 MB) go along.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
site=$("${PYTHON:-python}" -c 'import sam2, pathlib; print(pathlib.Path(sam2.__file__).parents[1])')
out=$here/../../.device/sam2_nano
rm -rf "$out/bundle" && mkdir -p "$out/bundle/site" "$out/bundle/tools/nano" "$out/bundle/wanlab/assets"
cp -r "$here" "$out/bundle/tools/sam2_nano"
cp -r "$here/../nano/nano" "$out/bundle/tools/nano/nano"
cp -r "$here/../../wanlab/assets/sample" "$out/bundle/wanlab/assets/sample"
for name in sam2 hydra omegaconf antlr4 iopath portalocker tqdm; do cp -r "$site/$name" "$out/bundle/site/"; done
if [ -n "${1:-}" ]; then
    mkdir "$out/bundle/weights"
    cp "$1/model.safetensors" "$1/progress.json" "$out/bundle/weights/"
fi
if [ -f "$out/figures.npz" ]; then cp "$out/figures.npz" "$out/bundle/"; else echo "no $out/figures.npz: see figures.py" >&2; fi
find "$out/bundle" \( -name __pycache__ -o -name csrc -o -name '*.so' \) -prune -exec rm -rf {} +
tar -C "$out/bundle" -czf "$out/bundle.tar.gz" .
rm -rf "$out/bundle"
ls -l "$out/bundle.tar.gz"
