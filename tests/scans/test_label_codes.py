"""Label codes: tables, unknown codes, informative label maps; hashed identities."""

import numpy as np
import pytest

from ildfv.datasets.identity import hashed
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS
from ildfv.scans.labels import HEALTHY, MEANINGS, OTHER, OUTSIDE, Codes, has_lung_labels, pattern_labels


def meanings(codes, values, dtype=np.uint16):
    return [MEANINGS[i] for i in codes.translate(np.array(values, dtype))]


def test_chest_imaging_platform_types_are_the_high_byte():
    cip = Codes.load("cip")
    types = [0, 1, 4, 5, 6, 37, 67, 2, 84]
    for region in (0, 1, 13, 255):
        found = meanings(cip, [kind << 8 | region for kind in types])
        assert found == [OUTSIDE, HEALTHY, "emphysema", *PATTERNS[:3], "emphysema", OTHER, OTHER]


def test_every_public_type_of_the_platform_is_known_and_no_other():
    cip = Codes.load("cip")
    assert set(cip.meanings) == set(range(101))
    with pytest.raises(InputError, match=r"label codes must be listed in cip, got unknown codes 101, 255"):
        cip.translate(np.array([0, 101 << 8, 255 << 8 | 7], np.uint16))


def test_phantom_codes_cover_all_patterns():
    assert set(PATTERNS) | {OUTSIDE, HEALTHY} == set(Codes.load("phantom").meanings.values())


def test_stored_labels_are_the_pattern_plus_one():
    codes = Codes({0: OUTSIDE, 1: HEALTHY, 9: OTHER, **{10 + i: name for i, name in enumerate(PATTERNS)}})
    labels = pattern_labels(codes.translate(np.array([[0, 1, 9], [10, 11, 12], [13, 13, 0]], np.int16)))
    np.testing.assert_array_equal(labels, [[0, 0, 0], [1, 2, 3], [4, 4, 0]])
    assert labels.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_labels_of_any_type_are_translated(dtype):
    assert meanings(Codes.load("phantom"), [0, 1, 5], dtype) == [OUTSIDE, HEALTHY, "emphysema"]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.array([0.0, 1.5]), "integers, got fractions"),
        (np.array([0.0, np.nan]), "must be finite"),
        (np.array([-1, 2]), r"must be in \[0, 65535\], got -1"),
        (np.array([70000, 2]), r"must be in \[0, 65535\], got 2 … 70000"),
        (np.zeros((0,)), "must not be empty"),
    ],
)
def test_values_that_cannot_be_labels_are_refused(values, match):
    with pytest.raises(InputError, match=match):
        Codes.load("phantom").translate(values)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[codes]\n1 = 'scar'", "code 1 must mean one of outside, healthy, other, ground glass"),
        ("[codes]\none = 'healthy'", "codes must be integers"),
        ("[codes]\n2 = 'healthy'\n02 = 'reticular'", "codes must be integers such as 2, got '02'"),
        ("[codes]\n1_0 = 'healthy'", "codes must be integers"),
        ("[codes]\n-1 = 'healthy'", "codes must be in"),
        ("shift = 8\n[codes]\n300 = 'healthy'", r"codes must be in \[0, 255\], got 300"),
        ("shift = 'a'\n[codes]\n3 = 'healthy'", "shift must be an integer"),
        ("shift = 20\n[codes]\n3 = 'healthy'", r"shift must be in \[0, 15\]"),
        ("shift = 8", r"must contain \[codes\] \(code = meaning\) or"),
        ("[code]\n1 = 'healthy'", "must contain only shift"),
        ("[codes\n", "must be TOML"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(tmp_path, text, match):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=match):
        Codes.load(tmp_path / "mine.toml")


def test_a_table_saved_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "mine.TOML").write_bytes(b"\xef\xbb\xbf[codes]\r\n2 = 'healthy'\r\n")
    assert Codes.load(tmp_path / "mine.TOML").meanings == {2: "healthy"}


def test_missing_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"one of cip, hug-ild, medseg, phantom, got 'ltrc'"):
        Codes.load("ltrc")
    with pytest.raises(InputError, match="readable TOML file"):
        Codes.load(tmp_path / "none.toml")


def test_a_map_of_only_airways_and_lobes_has_no_lung_labels():
    cip = Codes.load("cip")
    assert not has_lung_labels(cip.translate(np.array([0, 5, 2 << 8, 3 << 8 | 9], np.uint16)))
    assert has_lung_labels(cip.translate(np.array([0, 1 << 8], np.uint16)))
    assert has_lung_labels(cip.translate(np.array([0, 37 << 8], np.uint16)))


def test_identities_are_salted_hashes():
    import hashlib
    import hmac

    assert hashed("P-1", "salt") == hmac.new(b"salt", b"P-1", hashlib.sha256).hexdigest()[:16]
    assert len({hashed("P-1", "a"), hashed("P-1", "b"), hashed("P-2", "a")}) == 3
    assert hashed(" P-1 ", "a") == hashed("P-1", "a")  # DICOM pads identifiers with spaces
    with pytest.raises(InputError, match="must not be empty"):
        hashed("  ", "a")


@pytest.mark.parametrize("name", ["/nowhere/codes", "../codes/phantom", "/nowhere/codes.csv"])
def test_the_error_for_a_path_that_is_not_a_toml_file_names_the_shipped_tables(name):
    with pytest.raises(InputError, match=r"codes must be a \.toml file or one of cip, hug-ild, medseg, phantom, got"):
        Codes.load(name)
