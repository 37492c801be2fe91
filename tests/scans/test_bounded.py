"""A header that declares a length or a rescale value beyond its file is refused without allocating for it."""

import tracemalloc

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.scans.bounded import SMALL, open_bounded
from ildfv.scans.read_header import read_header
from ildfv.scans.volume import MAX_RESCALE, as_hounsfield


def test_a_read_returns_the_bytes_of_the_file(tmp_path):
    content = np.random.default_rng(0).bytes(3 * SMALL)
    (tmp_path / "file").write_bytes(content)
    with open_bounded(tmp_path / "file") as file:
        assert file.read(10) == content[:10]
        assert file.read(2 * SMALL) == content[10 : 10 + 2 * SMALL]
        assert file.read(1 << 40) == content[10 + 2 * SMALL :]
        assert file.read(1 << 40) == b""
        file.seek(5)
        assert file.read() == content[5:]


def test_an_element_that_declares_more_than_its_file_has_allocates_little(tmp_path, files):
    path = files.series(tmp_path, files.chest(1))[0]
    data = path.read_bytes()
    at = data.index(b"\x10\x00\x20\x00LO")  # PatientID, changed to an element of unknown type and 3 GiB
    path.write_bytes(data[:at] + b"\x10\x00\x20\x00UN\0\0" + (3 << 30).to_bytes(4, "little") + data[at + 8 :])
    tracemalloc.start()
    with pytest.raises(InputError, match="must have a SeriesInstanceUID"):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 1e30), (1.0, -1e19), (1e300, 0.0), (1e30, 1e30)])
@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float32])
def test_a_rescale_beyond_all_integers_is_refused(slope, intercept, dtype):
    with pytest.raises(InputError, match=f"at most {MAX_RESCALE:,}"):
        as_hounsfield(np.zeros((2, 2), dtype), slope, intercept)
