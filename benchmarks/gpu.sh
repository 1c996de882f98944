#!/usr/bin/env bash
# All that needs a GPU, in under ten minutes: the tests marked gpu, then benchmarks/cuda_step.py, which measures the default
# recipe, the fast one and the authors' step with the same switches. Results go to a folder.
#   benchmarks/gpu.sh OUTPUT [--quick --device cpu]
set -euo pipefail
output=$(realpath -m "${1:?usage: benchmarks/gpu.sh OUTPUT [--quick --device cpu]}")
shift
cd "$(dirname "$0")/.."
mkdir -p "$output"
python=${PYTHON:-python}
"$python" -m pytest -q -m gpu tests 2>&1 | tee "$output/tests.txt"
"$python" benchmarks/cuda_step.py "$output" "$@" 2>&1 | tee "$output/cuda.txt"
