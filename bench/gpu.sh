#!/usr/bin/env bash
# Builds ildfv for this machine's GPU, tests it there, measures it, and prints a short table last.
#
#   bench/gpu.sh [folder for results]        PYTHON=python3 by default
#
# Needs an NVIDIA GPU, Python ≥ 3.11 with torch, CuPy, NumPy, Cython, setuptools and pytest, a C++ compiler; nvcc for the
# kernels compiled ahead of time. Nothing is fetched; pydicom and faiss are not needed.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-bench/results}" && cd "${1:-bench/results}" && pwd)
python=${PYTHON:-python3}
built=$PWD/build/gpu

# An installed copy under build/: no system folder is touched, and the folder mapping of setup.py holds.
capability=$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
rm -rf "$built"
ILDFV_CUDA=1 ILDFV_CUDA_ARCHITECTURES=$capability "$python" -m pip install \
    --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --target "$built" .
export PYTHONPATH=$built${PYTHONPATH:+:$PYTHONPATH}

# -P keeps the checkout's own, uncompiled ildfv out of sight; addopts would ask for plugins that may be missing.
status=0
"$python" -P -m pytest -o addopts="-ra --strict-markers" -p no:cacheprovider -q -m gpu tests/cuda |
    tee "$out/gpu-tests.txt" || status=$?

# One small problem of each kind under the checkers, where the toolkit has them.
if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck; do
        compute-sanitizer --tool "$tool" --error-exitcode 9 --kernel-regex kns=moments --kernel-regex kns=singles \
            --kernel-regex kns=finish "$python" -P bench/sanitize.py > "$out/gpu-$tool.txt" 2>&1 || status=$?
        tail -1 "$out/gpu-$tool.txt"
    done
fi

"$python" -P bench/bench_cuda.py --variants --out "$out/gpu-$(date +%F).json" | tee "$out/gpu-bench.txt"
exit "$status"
