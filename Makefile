# `make demo` and `make test` set up what they need; nothing has to be run before them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# That run tests at a time; each takes up to 3.5 GB of memory.
WORKERS ?= 2
STAMP := $(VENV)/.ppd-setup

# The tests and the demo talk DDS: to this machine only.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

.PHONY: help setup demo test lint gpu rehearsal clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(STAMP)  ## make .venv with everything in it (done by the others when needed)

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed, got $$($(PYTHON) --version); set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ros,bag,view,video,sim,train,data,eval,dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## a simulated table and a real stereo pair through the node over ROS 2, into out/demo
	$(BIN)/python -m ppd_ros.demo -o out/demo
	$(BIN)/python -m ppd_ros.demo --stereo -o out/demo/motorcycle

test: $(STAMP)  ## all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy ppd_core ppd_ros

gpu: $(STAMP)  ## all that is to be asked of a CUDA device, in nine minutes: docs/performance.md
	$(BIN)/python benchmarks/gpu.py

rehearsal: $(STAMP)  ## the same on the CPU, at the smallest size
	$(BIN)/python benchmarks/gpu.py --rehearse

clean:  ## remove what the others made
	rm -rf $(VENV) out build *.egg-info
