"""CT images that are not slices in HU are recognised by the words with which vendors mark them."""

import numpy as np
import pytest
from pydicom.uid import generate_uid

from ildfv.datasets.discovery import discover
from ildfv.scans.read_header import read_header

ORIGINAL = ["ORIGINAL", "PRIMARY", "AXIAL"]


def header(folder, files, **tags):
    return read_header(files.series(folder, files.chest(1), **tags)[0])


@pytest.mark.parametrize(
    "image_type",
    [
        "DERIVED/SECONDARY/AXIAL/MIP",
        "DERIVED/SECONDARY/MPR/THICK MIP",
        "DERIVED/SECONDARY/OTHER/T-MIP 10",
        "DERIVED/SECONDARY/MinIP",
        "DERIVED/SECONDARY/MAX IP",
        "DERIVED/PRIMARY/VOLUME/MINIMUM",
        "DERIVED/SECONDARY/MIN",
        "DERIVED/SECONDARY/MAX",
        "DERIVED/SECONDARY/MAX INTENSITY",
        "DERIVED/SECONDARY/M I P",
        "DERIVED/SECONDARY/COLLAPSE",
        "DERIVED/SECONDARY/SLAB",
        "DERIVED/SECONDARY/MAXIMUM_INTENSITY_PROJECTION",
        "DERIVED/SECONDARY/RAYSUM",
        "DERIVED/SECONDARY/PROJECTION IMAGE",
        "DERIVED/SECONDARY/OTHER/VRT",
        "DERIVED/SECONDARY/VOLREN",
        "DERIVED/SECONDARY/AXIAL/MIPTHICK10",
        "DERIVED/SECONDARY/MINIP_SLAB",
        "DERIVED/SECONDARY/VOLUME_RENDER",
        "DERIVED/SECONDARY/CURVED MPR",
        "DERIVED/PRIMARY/VOLUME/SUBTRACTION",
        "DERIVED/PRIMARY/VOLUME/STD_DEVIATION",
        "DERIVED/PRIMARY/VOLUME/EFF_ATOMIC_NUM",
        "DERIVED/SECONDARY/CBV",
        "ORIGINAL/PRIMARY/LOCALIZER",
        "ORIGINAL/PRIMARY/OTHER/CT_SOM7 TOP",
        "DERIVED/SECONDARY/OTHER/CT_SOM5 PROT",
        "DERIVED/SECONDARY/DOSE_INFO",
        "DERIVED/SECONDARY/SCREEN SAVE",
    ],
)
def test_a_mark_in_the_image_type_excludes_the_image(tmp_path, files, image_type):
    found = header(tmp_path, files, ImageType=image_type.upper().split("/"))
    assert found.ignored.startswith("not a slice of a scan: ImageType ")
    assert found.ignored.removeprefix("not a slice of a scan: ImageType ") in image_type.upper().split("/")


@pytest.mark.parametrize(
    "image_type",
    [
        "ORIGINAL/PRIMARY/AXIAL/CT_SOM5 SPI",
        "DERIVED/SECONDARY/REFORMATTED/AVERAGE",
        "DERIVED/PRIMARY/AXIAL/CT_SOM5 MPR",
        "DERIVED/PRIMARY/VOLUME/VMI",
        "DERIVED/SECONDARY/LOW_DOSE",
        "DERIVED/PRIMARY/AXIAL/HIMIPRO",
    ],
)
def test_images_of_other_types_are_read_as_slices(tmp_path, files, image_type):
    found = header(tmp_path, files, ImageType=image_type.split("/"))
    assert (found.ignored, found.problem) == (None, None)


@pytest.mark.parametrize(
    ("tag", "text", "word"),
    [
        ("SeriesDescription", "Thorax MIP 8/2", "MIP"),
        ("SeriesDescription", "lung min-IP ax", "MIN IP"),
        ("SeriesDescription", "Doe John scout", "SCOUT"),
        ("DerivationDescription", "maximum intensity projection", "MAXIMUM INTENSITY PROJECTION"),
        ("SeriesDescription", "Dose Report", "DOSE REPORT"),
        ("SeriesDescription", "Lung Minimum Intensity", "MINIMUM INTENSITY"),
        ("SeriesDescription", "Lung 10mm max", "10MM MAX"),
    ],
)
def test_a_description_marks_a_derived_image_and_contradicts_an_original_one(tmp_path, files, tag, text, word):
    derived = header(tmp_path / "a", files, **{tag: text}, ImageType=["DERIVED", "SECONDARY"])
    assert derived.ignored == f"not a slice of a scan: {tag} with the word {word}"
    original = header(tmp_path / "b", files, **{tag: text}, ImageType=ORIGINAL)
    assert original.ignored is None
    assert (
        original.problem
        == f"the description of an image with ImageType ORIGINAL must be that of a slice, got {tag} with the word "
        f"{word}: correct one of the two tags"
    )


@pytest.mark.parametrize(
    "text",
    ["Low dose chest", "Thin 1.0 for MIP", "Lung 1.0 MIP source", "shrimp allergy", "MPR 3 mm", "after 5 min 10 mm"],
)
def test_other_descriptions_have_no_effect(tmp_path, files, text):
    found = header(tmp_path, files, SeriesDescription=text, ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    assert (found.ignored, found.problem) == (None, None)


@pytest.mark.parametrize("page", ["colour", "8 bits", "secondary"])
def test_a_report_page_in_a_series_has_no_effect_on_the_scan(tmp_path, files, page):
    series = generate_uid()
    files.series(tmp_path, files.chest(), series=series)
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    kinds = {
        "colour": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        "8 bits": {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "RescaleSlope": None, **nowhere},
        "secondary": {"ImageType": ["ORIGINAL", "SECONDARY", "OTHER"], **nowhere},
    }
    files.series(tmp_path / "page", np.zeros((1, 64, 64), np.int16), series=series, **kinds[page])
    found = discover(tmp_path)
    assert [scan.geometry.shape[0] for scan in found.scans] == [6]
    assert not found.quarantined
    assert [left.reason[:22] for left in found.ignored] == ["not a slice of a scan:"]


def test_a_scan_without_positions_is_refused_and_not_ignored(tmp_path, files):
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    files.series(tmp_path, files.chest(), **nowhere)
    (left,) = discover(tmp_path).quarantined
    rule = "ImagePositionPatient and ImageOrientationPatient must be present in a series of several slices, got none"
    assert left.reason.endswith(rule)
