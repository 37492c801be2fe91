"""Windows: the paper's mapping, area averaging, equal results for all array libraries."""

import numpy as np
import pytest
import torch
from skimage.transform import resize_local_mean

from ildfv.scans.windows import SIZE, WINDOWS, nearest, windowed


def test_the_three_windows_map_hu_linearly_and_clip():
    hu = np.array([-3000, -1400, -1175, -950, -600, -160, 40, 200, 240, 3000])
    low, normal, high = np.stack([windowed(np.full((8, 8), value, np.int16))[:, 0, 0] for value in hu], axis=1)
    np.testing.assert_array_equal(low, [0, 0, 128, 255, 255, 255, 255, 255, 255, 255])
    np.testing.assert_array_equal(normal, np.floor(np.clip((hu + 1400) / 1600, 0, 1) * 255 + 0.5))
    np.testing.assert_array_equal(high, np.floor(np.clip((hu + 160) / 400, 0, 1) * 255 + 0.5))


@pytest.mark.parametrize("side", [512, 768, 300, 224, 100, 64])
def test_resizing_averages_over_the_area_of_each_pixel(side):
    hu = np.random.default_rng(side).integers(-1500, 500, (side, side)).astype(np.int16)
    for channel, (low, high) in zip(windowed(hu), WINDOWS, strict=True):
        full = (np.clip(hu.astype(float), low, high) - low) * 255 / (high - low)
        expected = resize_local_mean(full, (SIZE, SIZE), preserve_range=True)
        assert np.abs(channel - expected).max() <= 0.501  # rounding to whole numbers


def test_clipping_comes_before_averaging():
    hu = np.full((448, 448), -1000, np.int16)
    hu[::2, ::2] = 3000  # a quarter of every output pixel: 3000 HU must count as 240
    assert windowed(hu)[2, 0, 0] == 64


@pytest.mark.parametrize("shape", [(300, 512), (512, 301), (64, 40)])
def test_a_slice_that_is_not_square_is_padded_with_zeros(shape):
    image = windowed(np.full(shape, 3000, np.int16))[2].astype(float)
    covered = np.prod(shape) / max(shape) ** 2
    assert image.mean() / 255 == pytest.approx(covered, abs=0.01)
    tall = shape[0] > shape[1]
    assert (image[:, 0] if tall else image[0]).max() == 0
    assert (image[:, SIZE // 2] if tall else image[SIZE // 2]).min() == 255


def test_stacks_are_windowed_slice_by_slice():
    hu = np.random.default_rng(0).integers(-1500, 500, (3, 96, 96)).astype(np.int16)
    np.testing.assert_array_equal(windowed(hu), np.stack([windowed(slice_) for slice_ in hu]))


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_torch_gives_the_same_bytes_as_numpy(dtype):
    hu = torch.randint(-1500, 500, (2, 300, 200), dtype=dtype, generator=torch.Generator().manual_seed(0))
    result = windowed(hu)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), windowed(hu.numpy()))
    labels = (hu > 0).to(torch.uint8)
    np.testing.assert_array_equal(nearest(labels).numpy(), nearest(labels.numpy()))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bytes():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    hu = torch.randint(-1500, 500, (2, 512, 512), dtype=torch.int16, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(windowed(hu.cuda()).cpu().numpy(), windowed(hu.numpy()))


def test_small_label_maps_are_aligned_with_the_windows():
    labels = np.zeros((300, 512), np.uint8)
    labels[100:200, 50:150] = 3
    bright = windowed(np.where(labels == 3, 3000, -3000).astype(np.int16))[2] > 127
    small = nearest(labels)
    assert small.dtype == np.uint8
    assert np.count_nonzero((small == 3) != bright) <= 0.05 * np.count_nonzero(bright)
