"""The variant for each shape, whose shared memory must fit on every architecture."""

import pytest

from ildfv.kernels.cuda import launches

# Largest dynamic shared memory of a block, from the CUDA programming guide's table of compute capabilities.
SHARED_LIMIT = {75: 64 << 10, 80: 163 << 10, 86: 99 << 10, 90: 227 << 10, 100: 227 << 10}


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("architecture", SHARED_LIMIT)
def test_every_shape_has_a_variant_that_fits(architecture, real):
    limit = SHARED_LIMIT[architecture]
    for k in (1, 2, 31, 32, 33, 64, 100, 256, 500, 1000, 1024):
        for d in (1, 16, 64, 65, 256, 1000, 4096):
            for tensor in {False, architecture >= 80 and real == "float32"}:
                variant = launches.choose(real, k, d, limit, tensor=tensor)
                assert variant.startswith(launches.TENSOR) == tensor
                assert launches.shared_bytes(variant, real, k, d) <= limit
        assert max(launches.singles_shared_bytes(real, k)) <= limit


def test_sums_of_cnnf_layers_are_in_shared_memory_where_they_fit():
    assert launches.choose("float32", 32, 64, SHARED_LIMIT[75]) == "resident"  # conv1
    assert launches.choose("float32", 32, 256, SHARED_LIMIT[90]) == "resident"  # conv2 … conv5
    assert launches.choose("float32", 32, 256, SHARED_LIMIT[75]) == "wide"
    assert launches.choose("float32", 32, 64, SHARED_LIMIT[80]) == "resident"
    assert launches.choose("float32", 256, 64, SHARED_LIMIT[90]) == "wide"
    assert launches.choose("float32", 1024, 64, SHARED_LIMIT[90]) == "huge"


@pytest.mark.parametrize("architecture", [80, 86, 90])
@pytest.mark.parametrize(("k", "d"), [(32, 64), (32, 256), (8, 64), (64, 128)])
def test_sums_in_shared_memory_leave_room_for_a_second_block(architecture, k, d):
    limit = SHARED_LIMIT[architecture]
    variant = launches.choose("float32", k, d, limit)
    used = launches.shared_bytes(variant, "float32", k, d) + launches.RESERVED_BYTES
    if variant == "resident":
        assert 2 * used <= limit + launches.RESERVED_BYTES
    if (architecture, k, d) == (86, 32, 64):  # fits one block of "resident" or two of "wide"
        assert variant == "wide"
        assert 2 * used <= limit + launches.RESERVED_BYTES


@pytest.mark.parametrize("architecture", SHARED_LIMIT)
def test_variants_that_fit_are_listed(architecture):
    limit = SHARED_LIMIT[architecture]
    for real in ("float32", "float64"):
        fitting = launches.fitting_variants(real, 37, 70, limit)
        assert "huge" in fitting
        assert ("resident" in fitting) == (launches.shared_bytes("resident", real, 37, 70) <= limit)
        assert any("tensor" in variant for variant in fitting) == (real == "float32")
    # This is the last shape of bench/sanitize.py, which must launch every kernel.
    assert launches.fitting_variants("float32", 4, 5, limit) == launches.VARIANTS
    assert launches.fitting_variants("float64", 4, 5, limit) == launches.PLACES


@pytest.mark.parametrize("n", [1, 64, 511, 512, 513, 2916, 100_000])
@pytest.mark.parametrize("k", [1, 32, 256, 1024])
def test_pieces_cover_every_descriptor_of_a_map_once(n, k):
    pieces, rows = launches.cut(n, k)
    assert (pieces - 1) * rows < n <= pieces * rows
    assert rows % launches.TILES["float32"].rows == 0
