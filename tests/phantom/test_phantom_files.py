"""The files of a phantom: valid DICOM, aligned labels, equal bytes for equal seeds."""

import shutil
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_rescale

from ildfv.errors import InputError
from ildfv.phantom import write_phantoms
from ildfv.phantom.dicom_series import STORAGE, dataset, heights
from ildfv.phantom.patient import draw_patient
from ildfv.scans.labels import MEANINGS, Codes

SLICES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, patients=2, seed=7, slices_per_scan=SLICES, workers=1)
    return folder


@pytest.fixture(scope="module")
def series(folder) -> list[pydicom.FileDataset]:
    """Slices of the first patient by position, base first."""
    slices = [pydicom.dcmread(f) for f in (folder / "patient-0001" / "ct").iterdir()]
    return sorted(slices, key=lambda ds: ds.ImagePositionPatient[2])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes_for_any_number_of_workers(folder, tmp_path):
    write_phantoms(tmp_path, patients=2, seed=7, slices_per_scan=SLICES, workers=2)
    assert contents(tmp_path) == contents(folder)


def test_a_patient_does_not_depend_on_the_number_of_patients(folder, tmp_path):
    (path,) = write_phantoms(tmp_path, patients=1, seed=7, slices_per_scan=SLICES, workers=1)
    assert contents(path) == contents(folder / "patient-0001")


def test_another_seed_gives_another_patient(folder, tmp_path):
    (path,) = write_phantoms(tmp_path, patients=1, seed=8, slices_per_scan=SLICES, workers=1)
    assert (path / "labels.nii.gz").read_bytes() != (folder / "patient-0001" / "labels.nii.gz").read_bytes()


def test_an_interrupted_patient_is_drawn_again_and_a_finished_one_kept(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    kept = (copy / "patient-0001" / "labels.nii.gz").stat().st_mtime_ns
    (copy / "patient-0002").rename(copy / ".patient-0002.tmp")
    (copy / ".patient-0002.tmp" / "labels.nii.gz").unlink()
    (copy / ".patient-0002.tmp" / "ct" / "leftover.dcm").write_bytes(b"half a file")
    write_phantoms(copy, patients=2, seed=7, slices_per_scan=SLICES, workers=1)
    assert contents(copy) == contents(folder)
    assert (copy / "patient-0001" / "labels.nii.gz").stat().st_mtime_ns == kept


@pytest.mark.parametrize(("seed", "slices"), [(8, SLICES), (7, SLICES + 1)])
def test_phantoms_of_other_settings_are_not_mixed_into_a_folder(folder, seed, slices):
    before = contents(folder)
    with pytest.raises(InputError, match="phantoms of the same seed"):
        write_phantoms(folder, patients=2, seed=seed, slices_per_scan=slices, workers=1)
    assert contents(folder) == before


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"seed": -1}, {"slices_per_scan": 0}, {"workers": 0}])
def test_arguments_out_of_range_are_named(tmp_path, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        write_phantoms(tmp_path, **{"patients": 1, "seed": 0, "slices_per_scan": 1, "workers": 1} | wrong)


def test_series_is_one_ct_series_with_valid_uids(series, folder):
    other = pydicom.dcmread(next((folder / "patient-0002" / "ct").iterdir()), stop_before_pixels=True)
    assert len(series) == SLICES
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        values = {ds[name].value for ds in series}
        assert len(values) == 1
        assert other[name].value not in values
    assert len({ds.SOPInstanceUID for ds in series}) == SLICES
    assert sorted(ds.InstanceNumber for ds in series) == list(range(1, SLICES + 1))
    for ds in series:
        assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == pydicom.uid.CTImageStorage
        assert all(pydicom.uid.UID(u).is_valid for u in (ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID))
        assert ds.PatientID.startswith("PHANTOM")
        assert "PHANTOM" in ds.SeriesDescription
        assert "PHANTOM" in ds.ImageComments


def test_slices_are_evenly_spaced_and_not_ordered_by_name(series, folder):
    z = np.array([ds.ImagePositionPatient[2] for ds in series], float)
    np.testing.assert_allclose(np.diff(z), float(series[0].SpacingBetweenSlices), atol=1e-3)
    orders = []
    for patient in ("patient-0001", "patient-0002"):
        names = sorted((folder / patient / "ct").iterdir())
        orders.append([float(pydicom.dcmread(f).ImagePositionPatient[2]) for f in names])
    assert any(order not in (sorted(order), sorted(order, reverse=True)) for order in orders)


def test_hu_are_restored_by_rescale_slope_and_intercept(series):
    for ds in series:
        hu = apply_rescale(ds.pixel_array, ds)
        assert ds.pixel_array.shape == (512, 512)
        assert hu.min() >= -1024
        assert hu.max() <= 3071
        assert abs(np.median(hu[:20]) + 1000) < 15  # air above the patient


def test_every_storage_format_keeps_the_hu():
    hu = np.linspace(-1024, 3071, 512 * 512).reshape(512, 512).astype(np.int16)
    seen = set()
    for number in range(1, 25):
        ds = dataset(draw_patient(0, number), hu, 0, SLICES)
        seen.add((ds.PixelRepresentation, ds.BitsStored, int(ds.RescaleIntercept)))
        np.testing.assert_array_equal(apply_rescale(ds.pixel_array, ds), hu)
    assert seen == set(STORAGE)


def test_labels_are_aligned_with_the_series(series, folder):
    image = nibabel.load(folder / "patient-0001" / "labels.nii.gz")
    assert image.shape == (512, 512, SLICES)
    for k, ds in enumerate(series):
        column, row = 100, 300
        left, back = np.array(ds.ImagePositionPatient[:2], float) + np.array([column, row]) * float(ds.PixelSpacing[0])
        right, front, up, _ = image.affine @ [column, row, k, 1]
        np.testing.assert_allclose([right, front, up], [-left, -back, float(ds.ImagePositionPatient[2])], atol=1e-3)


def test_labelled_lung_is_dark_and_other_tissue_is_not(series, folder):
    labels = np.asarray(nibabel.load(folder / "patient-0001" / "labels.nii.gz").dataobj)
    for k, ds in enumerate(series[1:-1], start=1):
        hu, here = apply_rescale(ds.pixel_array, ds), labels[:, :, k].T
        lung = here > 0
        assert np.median(hu[lung]) < -500
        ring = np.zeros_like(lung)
        rows, columns = np.nonzero(lung)
        ring[rows.min() : rows.max(), columns.min() : columns.max()] = True
        assert np.median(hu[ring & ~lung]) > -150  # chest wall and mediastinum; a shifted map would put lung here


def test_label_codes_are_those_of_the_shipped_table(folder):
    codes = Codes.load("phantom")
    labels = np.asarray(nibabel.load(folder / "patient-0001" / "labels.nii.gz").dataobj)
    codes.translate(labels)  # raises on a code that the table lacks
    assert [codes.meanings[c] for c in range(6)] == [m for m in MEANINGS if m != "other"]
    assert (folder / "codes.toml").read_bytes() == (files("ildfv.scans") / "codes/phantom.toml").read_bytes()


def test_sections_cover_the_lung_from_end_to_end():
    patient = draw_patient(0, 1)
    z, spacing = heights(patient, 24)
    assert z[0] < spacing
    assert patient.height - z[-1] < spacing
    assert 8 < spacing < 12.5
