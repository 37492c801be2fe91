"""Products on tensor cores: used where they are faster, with the same accuracy of results."""

import subprocess

import numpy as np
import pytest
from emulation import FLAGS, ROOT, EmulatedDevice, OnDevice, compiler
from problems import descriptors, distances, mixture

from ildfv.kernels import reference
from ildfv.kernels.cuda import launches, moments
from ildfv.kernels.cuda.parameters import _bfloat16_parts, tensor_cores

EPSILON = 2.0**-8  # relative spacing of bfloat16 values


def computed(device, x, parameters, variant, **options):
    moments.set_variant(variant)
    options = {"threshold": 1e-6, "pooled": False, **options}
    return [np.asarray(a) for a in moments.compute(device, x.view(OnDevice), *parameters, **options)]


@pytest.mark.parametrize("threshold", [0.0, 1e-12, 1e-6, 0.3])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0], ids=["soft", "mixed", "peaky"])
@pytest.mark.parametrize(("k", "d", "n"), [(40, 20, 200), (5, 130, 70), (150, 6, 65)])
def test_tensor_cores_agree_with_fma(device, rng, k, d, n, spread, threshold):
    parameters = mixture(rng, k, d, spread=spread)
    x = descriptors(rng, parameters, 1, n)
    fma, tensor = (computed(device, x, parameters, v, threshold=threshold) for v in ("wide", "tensor_wide"))
    assert max(distances(tensor, fma)) < 3e-6, distances(tensor, fma)
    assert max(distances(tensor, reference.moments(x, *parameters, threshold=threshold))) < 1e-5


@pytest.mark.parametrize("place", launches.PLACES)
def test_small_problems_agree(device, rng, place):
    """The sanitizers run these problems because they are small. Screening stops after the first tile."""
    weights, means, variances = mixture(rng, 33, 5, spread=0.3)
    x = descriptors(rng, (weights, means, variances), 1, 70)
    expected = reference.moments(x, weights, means, variances)
    assert max(distances(computed(device, x, (weights, means, variances), f"tensor_{place}"), expected)) < 1e-5


@pytest.mark.parametrize("threshold", [1e-12, 1e-6])
def test_no_component_is_missed_where_split_products_have_large_errors(device, rng, threshold):
    # Narrow components a thousand standard deviations from the centre, in pairs that compete for every descriptor.
    d, pairs = 24, 20
    means = np.repeat(rng.normal(size=(pairs, d)), 2, axis=0)
    variances = np.full((2 * pairs, d), 1e-6)
    means[1::2] += 1e-3 * rng.normal(size=(pairs, d))
    parameters = np.full(2 * pairs, 0.5 / pairs), means, variances
    x = descriptors(rng, parameters, 1, 200)
    *_, slack, close = tensor_cores(parameters, "float32")
    assert not close
    assert slack.min() > 100
    fma, tensor = (computed(device, x, parameters, v, threshold=threshold) for v in ("wide", "tensor_wide"))
    assert max(distances(tensor, fma)) < 3e-6, distances(tensor, fma)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e25])
def test_overflow_is_detected(device, rng, bad):
    parameters = mixture(rng, 33, 5)
    x = descriptors(rng, parameters, 2, 70)
    x[1, 68, 2] = bad
    moments.set_variant("tensor_wide")
    if np.isfinite(bad):  # recomputed in double
        expected = reference.moments(x, *parameters, pooled=True)
        assert max(distances(computed(device, x, parameters, "tensor_wide", pooled=True), expected)) < 1e-5
        return
    with pytest.raises(ValueError, match="in map 1"):
        moments.compute(device, x.view(OnDevice), *parameters, threshold=1e-6, pooled=False)


def test_a_component_of_weight_zero_has_no_mass(device, rng):
    weights, means, variances = mixture(rng, 40, 5)
    weights = np.where(np.arange(40) == 7, 0, weights) / (1 - weights[7])
    x = descriptors(rng, (weights, means, variances), 1, 100)
    with np.errstate(divide="ignore"):
        expected = reference.moments(x, weights, means, variances)
    found = computed(device, x, (weights, means, variances), "tensor_wide")
    assert max(distances(found, expected)) < 1e-5
    assert found[0][0, 7] == 0


@pytest.mark.parametrize(
    ("k", "threshold", "cores", "scale", "expected"),
    [
        (launches.TENSOR_K, 1e-6, True, 1.0, "tensor_wide"),
        (launches.TENSOR_K - 1, 1e-6, True, 1.0, "wide"),
        (launches.TENSOR_K, 0.0, True, 1.0, "wide"),  # with threshold 0 all posteriors count
        (launches.TENSOR_K, 1e-6, False, 1.0, "wide"),  # a device of sm_75
        (launches.TENSOR_K, 1e-6, True, 1e-13, "wide"),  # squares would overflow float
    ],
)
def test_tensor_cores_are_chosen_for_many_components(library, rng, k, threshold, cores, scale, expected):
    device = EmulatedDevice(library, 100 << 10, tensor_cores=cores)
    weights, means, variances = mixture(rng, k, 70)
    x = descriptors(rng, (weights, means, variances), 1, 4, np.float64) * scale
    parameters = weights, means * scale, variances * scale**2
    moments.compute(device, x.astype(np.float32).view(OnDevice), *parameters, threshold=threshold, pooled=False)
    assert device.launched == [f"moments_{expected}_float32"]
    moments.compute(device, x.view(OnDevice), *parameters, threshold=threshold, pooled=False)
    assert device.launched[1:] == ["moments_huge_float64"]


def test_parts_hold_sixteen_bits_of_a_number(rng):
    a = rng.normal(size=(3, 7)) * 10.0 ** rng.integers(-10, 10, (3, 7))
    words = _bfloat16_parts(a).view(np.uint16).reshape(3, 2, 2, 4).astype(np.uint32) << 16  # (k, d4/4, part, 4)
    high, low = np.moveaxis(words.view(np.float32), 2, 0).reshape(2, 3, 8)[..., :7].astype(np.float64)
    assert np.abs(high - a).max() > 0
    assert (np.abs(high - a) <= EPSILON * np.abs(a)).all()
    assert (np.abs(high + low - a) <= 1.01 * EPSILON**2 * np.abs(a)).all()


# Matrices laid out over a warp as PTX documents mma.m16n8k16 (.bf16) and mma.m16n8k8 (.tf32): the fallback's layout.
LAYOUT = r"""
#include "emulation.h"
#include "cuda/mma.h"
using namespace ildfv;

template <Parts PARTS>
void multiply(const float* x, const float* y, float* z) {  // (16, depth), (depth, 8), (16, 8)
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    unsigned rows[4], columns[2];
    for (int i = 0; i < 4; ++i) {
        const int row = g + i % 2 * 8;
        if (PARTS == TF32_PARTS) rows[i] = tf32(x[row * 8 + t + i / 2 * 4]);
        else rows[i] = bfloats(x[row * 16 + 2 * t + i / 2 * 8], x[row * 16 + 2 * t + i / 2 * 8 + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        if (PARTS == TF32_PARTS) columns[i] = tf32(y[(t + i * 4) * 8 + g]);
        else columns[i] = bfloats(y[(2 * t + i * 8) * 8 + g], y[(2 * t + i * 8 + 1) * 8 + g]);
    }
    float sum[4] = {};
    multiply_add<PARTS>(sum, rows, columns);
    for (int i = 0; i < 4; ++i) z[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

int main() {
    float x[256], y[128], z[128];
    for (int i = 0; i < 256; ++i) x[i] = (i * 37 % 17) - 8;  // small whole numbers: exact in every format
    for (int i = 0; i < 128; ++i) y[i] = (i * 23 % 13) - 6;
    int wrong = 0;
    for (int depth : {16, 8}) {
        void* arguments[3];
        const float *px = x, *py = y;
        float* pz = z;
        arguments[0] = &px, arguments[1] = &py, arguments[2] = &pz;
        emulation::run(depth == 16 ? multiply<BFLOAT16_PARTS> : multiply<TF32_PARTS>, {1, 1, 1}, 32, 0, arguments);
        for (int row = 0; row < 16; ++row)
            for (int column = 0; column < 8; ++column) {
                float expected = 0;
                for (int i = 0; i < depth; ++i) expected += x[row * depth + i] * y[i * 8 + column];
                wrong += z[row * 8 + column] != expected;
            }
    }
    return wrong;
}
"""


def test_the_fallback_has_the_layout_of_the_instructions(tmp_path):
    (tmp_path / "layout.cpp").write_text(LAYOUT, encoding="utf-8")
    flags = [flag for flag in FLAGS if flag != "-shared"]
    includes = ["-I", str(ROOT / "csrc"), "-I", str(ROOT / "tests" / "cuda")]
    command = [compiler(), *flags, *includes, str(tmp_path / "layout.cpp"), "-o", str(tmp_path / "layout")]
    subprocess.run(command, check=True)
    assert subprocess.run([str(tmp_path / "layout")]).returncode == 0
