#!/usr/bin/env bash
# Builds ildfv for this machine's GPU and runs, in this order: tests, device times, encoding of 24,000 and 240,000
# slices at conv1; then longer steps: alternatives, network, sanitizers.
#
#   bench/gpu.sh [folder for results]        PYTHON=python3 and BUDGET=900 seconds by default; BUDGET=0 has no limit
#
# Every step writes its own file while it runs. A step that fails or exceeds its time does not end the script. An
# interrupt (INT, TERM) ends the current step and keeps all files. gpu-steps.txt lists steps, exit codes and seconds.
#
# Needs an NVIDIA GPU, Python ≥ 3.11 with torch, NumPy, Cython, setuptools, pytest, and array-api-compat or scikit-learn
# (which contains a copy of it), a C++ compiler, and nvcc or CuPy. Encoding also needs scikit-learn, h5py and
# safetensors. Nothing is downloaded.
set -uo pipefail
set -m  # without job control, commands in the background ignore INT
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-bench/results}" && cd "${1:-bench/results}" && pwd) || exit
python=${PYTHON:-python3}
budget=${BUDGET:-900}
built=$PWD/build/gpu
today=$(date +%F)
log=$out/gpu-steps.txt
status=0 child=
: > "$log"

remaining() { if [ "$budget" -eq 0 ]; then echo 86400; else echo $((budget - SECONDS)); fi; }

# INT first, so that Python ends with its results written.
end_child() {
    [ -n "$child" ] || return 0
    kill -INT "$child" 2> /dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$child" 2> /dev/null && sleep 0.5; done
    kill -KILL "$child" 2> /dev/null
    wait "$child" 2> /dev/null
    child=
}

summary() {
    echo
    cat "$log"
    [ -s "$out/gpu-device.txt" ] && cat "$out/gpu-device.txt"
    [ -s "$out/gpu-tests.txt" ] && tail -n 1 "$out/gpu-tests.txt"
}

interrupted() {
    end_child
    echo "interrupted after $SECONDS s during ${name:-start}" >> "$log"
    summary
    exit 130
}
trap interrupted INT TERM

# step NAME SECONDS COMMAND…: runs a command and writes its output to gpu-NAME.txt. The limit is SECONDS or the rest of
# the budget, whichever is less.
step() {
    name=$1
    local limit=$2 left code started=$SECONDS
    shift 2
    left=$(remaining)
    [ "$budget" -eq 0 ] && limit=$left
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 5 ]; then
        echo "$name: skipped, the budget of $budget s is used up" | tee -a "$log"
        return 0
    fi
    # In the background, because bash runs traps during `wait`, but not during a foreground command. timeout forwards INT.
    timeout --signal=INT --kill-after=15 "$limit" "$@" > "$out/gpu-$name.txt" 2>&1 < /dev/null &
    child=$!
    wait "$child"
    code=$?
    child=
    [ "$code" -eq 0 ] || status=$code
    echo "$name: exit code $code, $((SECONDS - started)) s" | tee -a "$log"
    return "$code"
}

build() {
    local capability
    capability=$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())') || return
    # Installed under build/, so that no system folder is changed and the folder mapping of setup.py applies.
    rm -rf "$built"
    ILDFV_CUDA=1 ILDFV_CUDA_ARCHITECTURES=$capability "$python" -m pip install \
        --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --target "$built" . || return
    "$python" -P - "$built" << 'END'
import importlib.util, os, sys
if importlib.util.find_spec("array_api_compat") is None:
    copy = importlib.util.find_spec("sklearn") and importlib.util.find_spec("sklearn.externals.array_api_compat")
    if not copy:
        sys.exit("needs array-api-compat, or scikit-learn, which contains a copy: pip install array-api-compat")
    os.symlink(os.path.dirname(copy.origin), os.path.join(sys.argv[1], "array_api_compat"))
END
}
export -f build
export python built PYTHONUNBUFFERED=1

# -P hides the uncompiled ildfv of the checkout; the project's addopts require plugins that may be missing.
tests=("$python" -P -m pytest -o addopts="-ra --strict-markers" -p no:cacheprovider -q -m gpu)

step build 300 bash -c build || { summary; exit "$status"; }
export PYTHONPATH=$built:$PWD/bench:$PWD${PYTHONPATH:+:$PYTHONPATH}
step selftest 60 "$python" -P -c 'from ildfv.kernels.cuda import selftest; print(selftest.run())'
step tests 300 "${tests[@]}" tests/cuda/test_cuda_gpu.py tests/cuda/test_cuda_gpu_streams.py tests/streaming/test_graphs.py
step device 150 "$python" -P bench/bench_cuda.py --only-ildfv --seconds 0.1 --out "$out/gpu-device-$today.json"
mkdir -p build/encode  # the phantoms are written once, for both; 20 KB per slice
for slices in 24000 240000; do
    step "encode-$slices" $((slices == 24000 ? 90 : 300)) "$python" -P bench/bench_encode_cuda.py --slices "$slices" \
        --folder "$PWD/build/encode" --out "$out/gpu-encode-$slices-$today.json"
done
rm -rf build/encode

step compiled-tests 120 "${tests[@]}" tests/train/test_train_compiled.py
step bench 600 "$python" -P bench/bench_cuda.py --variants --out "$out/gpu-$today.json"
step network 300 "$python" -P bench/bench_network.py --out "$out/gpu-network-$today.json"
# Small problems for every kernel under compute-sanitizer, if installed, without a filter.
if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck synccheck; do
        step "$tool" 1200 compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" -P bench/sanitize.py
    done
fi
summary
exit "$status"
