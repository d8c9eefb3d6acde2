#!/bin/sh
# Put what training needs on a machine with Python 3.12, torch, safetensors, opencv and nothing else into .device/sam2_nano/bundle.tar.gz
set -eu
here=$(cd "$(dirname "$0")" && pwd)
site=$("${PYTHON:-python}" -c 'import sam2, pathlib; print(pathlib.Path(sam2.__file__).parents[1])')
out=$here/../../.device/sam2_nano
rm -rf "$out/bundle" && mkdir -p "$out/bundle/site" "$out/bundle/tools/nano"
cp -r "$here" "$out/bundle/tools/sam2_nano"
cp -r "$here/../nano/nano" "$out/bundle/tools/nano/nano"
rm -f "$out/bundle/tools/nano/nano/room.jpg"  # the sample clips' own room: held out
for name in sam2 hydra omegaconf antlr4 iopath portalocker tqdm; do cp -r "$site/$name" "$out/bundle/site/"; done
find "$out/bundle" \( -name __pycache__ -o -name csrc -o -name '*.so' \) -prune -exec rm -rf {} +
tar -C "$out/bundle" -czf "$out/bundle.tar.gz" .
rm -rf "$out/bundle"
ls -l "$out/bundle.tar.gz"
