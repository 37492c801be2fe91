#!/usr/bin/env bash
# Builds ildfv for this machine's GPU, runs the GPU tests and benchmarks, and prints a short table.
#
#   bench/gpu.sh [folder for results]        PYTHON=python3 by default
#
# Needs an NVIDIA GPU, Python ≥ 3.11 with torch, CuPy, NumPy, Cython, setuptools and pytest, a C++ compiler; nvcc for the
# build by nvcc. With scikit-learn, h5py and safetensors more tests run. Nothing is downloaded; pydicom and faiss are not
# needed.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-bench/results}" && cd "${1:-bench/results}" && pwd)
python=${PYTHON:-python3}
built=$PWD/build/gpu

# Installed under build/, so that no system folder is changed and the folder mapping of setup.py applies.
capability=$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
rm -rf "$built"
ILDFV_CUDA=1 ILDFV_CUDA_ARCHITECTURES=$capability "$python" -m pip install \
    --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --target "$built" .
export PYTHONPATH=$built${PYTHONPATH:+:$PYTHONPATH}

# scikit-learn contains a copy of array-api-compat, which is used where the package is not installed.
"$python" -P - "$built" << 'END'
import importlib.util, os, sys
if importlib.util.find_spec("array_api_compat") is None and importlib.util.find_spec("sklearn"):
    copy = importlib.util.find_spec("sklearn.externals.array_api_compat")
    if copy:
        os.symlink(os.path.dirname(copy.origin), os.path.join(sys.argv[1], "array_api_compat"))
END

# -P hides the uncompiled ildfv of the checkout; the project's addopts require plugins that may be missing.
status=0
"$python" -P -c 'from ildfv.kernels.cuda import selftest; print(selftest.run())' || status=$?
"$python" -P -m pytest -o addopts="-ra --strict-markers" -p no:cacheprovider -q -m gpu \
    tests/cuda/test_cuda_gpu.py tests/streaming/test_graphs.py tests/train/test_train_compiled.py |
    tee "$out/gpu-tests.txt" || status=$?

# Small problems for every kernel under compute-sanitizer, if installed, without a filter.
if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck synccheck; do
        timeout 1200 compute-sanitizer --tool "$tool" --error-exitcode 9 \
            "$python" -P bench/sanitize.py > "$out/gpu-$tool.txt" 2>&1 || status=$?
        tail -2 "$out/gpu-$tool.txt"
    done
fi

"$python" -P bench/bench_network.py --out "$out/gpu-network-$(date +%F).json" | tee "$out/gpu-network.txt" || status=$?
"$python" -P bench/bench_cuda.py --variants --out "$out/gpu-$(date +%F).json" | tee "$out/gpu-bench.txt" || status=$?
exit "$status"
