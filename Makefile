# make demo   set up, run every notebook headless on the bundled clip, leave outputs/…/report.html
# make test   set up, run the tests
# make lab    set up, open JupyterLab on this machine
.PHONY: demo test lab env lock notebooks gpu clean
.DEFAULT_GOAL := demo

UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.wanlab-ready

demo: env
	$(BIN)/wanlab demo

# Two processes: the tests take longer than a machine of two cores needs for them one after the other, and much of that is
# waiting for kernels and pages. A file stays in one process, which shares what its fixtures make; files begin in order,
# the long ones of e2e first.
test: env
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lab: env
	$(BIN)/wanlab lab

env: $(STAMP)

# Without compiled bytecode every kernel pays 15 s to import diffusers and transformers.
# The build constraint keeps sam2's source package from fetching a second torch.
$(STAMP): requirements.lock pyproject.toml Makefile
	@sh tools/make_venv.sh $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	SAM2_BUILD_CUDA=0 $(BIN)/uv pip sync --python $(BIN)/python --require-hashes --system-certs \
		--build-constraints requirements.lock --compile-bytecode requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --system-certs --no-deps --no-build-isolation --editable .
	@touch $@

# After a change of the dependencies in pyproject.toml.
lock:
	$(BIN)/uv pip compile pyproject.toml --extra test --extra setup --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --system-certs --quiet --output-file requirements.lock

# After an edit of a notebook or of its .py half: bring both to the newer one, without outputs and with stable cell ids.
notebooks: env
	$(BIN)/jupytext --sync notebooks/*.py
	$(BIN)/nbstripout notebooks/*.ipynb

# On a machine with a CUDA GPU: FlashAttention 3 (Hopper) and onnxruntime with CUDA, which owns the same folder as the plain one.
gpu: env
	$(BIN)/uv pip install --python $(BIN)/python --system-certs "fa3-fwd==0.0.3"
	$(BIN)/uv pip uninstall --python $(BIN)/python onnxruntime
	$(BIN)/uv pip install --python $(BIN)/python --system-certs onnxruntime-gpu

clean:
	rm -rf $(VENV) build *.egg-info
