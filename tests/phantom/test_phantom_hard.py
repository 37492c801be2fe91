"""Hard phantoms: early and mixed disease, imitations labelled healthy, several scanners, exact label maps."""

import functools
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from ildfv.errors import InputError
from ildfv.kernels.drawing import doubled
from ildfv.patterns import PATTERNS, presence
from ildfv.phantom import write_phantoms
from ildfv.phantom.chest import Chest
from ildfv.phantom.dicom_series import dataset, series_uid
from ildfv.phantom.difficulty import patient_of
from ildfv.phantom.disease import Disease
from ildfv.phantom.hard import CONTRASTS, HARD_DECK, PROTOCOLS
from ildfv.phantom.mimics import moved
from ildfv.phantom.patient import Patient
from ildfv.phantom.scanner import Scanner
from ildfv.phantom.textures import EMPHYSEMA

PATIENTS = [patient_of(0, number, "hard") for number in range(1, 37)]


def first(condition) -> Patient:
    return next(patient for patient in PATIENTS if condition(patient))


@functools.cache
def counts(difficulty: str) -> np.ndarray:
    """Pixels per pattern, twelve patients with five slices each, (60, 4)."""
    found = []
    for number in range(1, 13):
        patient = patient_of(0, number, difficulty)
        chest, half = Chest(patient), patient.grid.coarse(2)
        disease = Disease(chest)
        for u in (np.arange(5) + 0.5) / 5:
            surface = chest.lung(half, u * patient.height)
            pleura = chest.pleura(half, u * patient.height, surface)
            codes = disease.codes(doubled(surface), pleura, u * patient.height)
            found.append(np.bincount(codes.ravel(), minlength=6)[2:])
    return np.array(found)


def test_a_patient_is_reproducible_and_differs_from_the_easy_one():
    assert patient_of(0, 3, "hard") == PATIENTS[2]
    assert patient_of(0, 3, "hard") != patient_of(0, 3)
    assert patient_of(0, 3) == patient_of(0, 3, "easy")


def test_every_twelve_patients_have_all_combinations_of_the_deck():
    for start in (0, 12, 24):
        assert sorted(p.patterns for p in PATIENTS[start : start + 12]) == sorted(HARD_DECK)


@pytest.mark.slow
def test_every_pattern_is_on_some_slices_but_on_fewer_than_in_easy_phantoms():
    hard, easy = counts("hard"), counts("easy")
    share = presence(hard, 4000).mean(axis=0)
    assert np.all((share >= 0.05) & (share <= 0.35)), dict(zip(PATTERNS, share, strict=True))
    assert presence(hard).mean() < presence(easy).mean()
    assert (presence(hard, 4000).sum(axis=1) == 0).mean() > 0.3  # slices without any pattern


@pytest.mark.slow
def test_small_disease_leaves_slices_below_the_threshold_of_presence():
    some = counts("hard")
    below = ((some > 0) & (some < 6000)).sum(axis=0)
    assert np.all(below >= 3), below


def test_contrasts_run_from_early_to_advanced_disease():
    for k, (low, high) in enumerate(CONTRASTS):
        found = [p.contrasts[k] for p in PATIENTS if k in p.patterns]
        assert low <= min(found) < low + 0.3 * (high - low)
        assert high >= max(found) > high - 0.3 * (high - low)


@pytest.mark.parametrize("pattern", range(4))
def test_labels_are_where_disease_was_drawn(pattern):
    # The same patient without contrast between disease and healthy lung, but with the same noise.
    patient = first(lambda p: pattern in p.patterns and p.extents[pattern] > 0.1)
    z = patient.centres[pattern] * patient.height
    (hu, codes), (blank, blank_codes) = (
        Scanner(patient).slice(z),
        Scanner(replace(patient, contrasts=(0.0,) * 4)).slice(z),
    )
    np.testing.assert_array_equal(codes, blank_codes)
    change = hu.astype(float) - blank
    inside = codes == pattern + 2
    core = ndimage.binary_erosion(inside, iterations=3)
    assert core.sum() > 300
    assert np.abs(change[core]).mean() > 20
    assert change[core].mean() * (-1 if pattern == EMPHYSEMA else 1) > 0
    # Nothing was drawn further from the labels than the width over which patterns fade.
    far = ndimage.distance_transform_edt(codes < 2) * patient.pixel > 9 * patient.feather
    assert np.abs(change[far]).max() < 5


def test_imitations_of_disease_are_labelled_healthy():
    patient = first(lambda p: p.atelectasis > 100)
    plain = replace(patient, atelectasis=0.0, bronchiectasis=0.0, cysts=0, motion=0.0)
    z = 0.4 * patient.height
    (hu, codes), (plain_hu, plain_codes) = Scanner(patient).slice(z), Scanner(plain).slice(z)
    np.testing.assert_array_equal(codes, plain_codes)
    change = hu.astype(float) - plain_hu
    healthy = codes == 1
    dependent = healthy & (np.arange(512)[:, None] > np.nonzero(healthy)[0].max() - 12 / patient.pixel)
    assert change[dependent].mean() > 20


@pytest.mark.parametrize("imitation", ["atelectasis", "bronchiectasis", "cysts", "motion"])
def test_some_but_not_all_patients_have_each_imitation(imitation):
    share = np.mean([getattr(p, imitation) > 0 for p in PATIENTS])
    assert 0.1 < share < 0.75


def test_motion_doubles_contours_on_some_slices_of_a_patient_only():
    patient = first(lambda p: p.motion > 1.5)
    edge = np.full((512, 512), -860.0)
    edge[256:] = 40.0
    sections = [moved(patient, edge, float(z)) for z in np.linspace(0.1, 0.9, 24) * patient.height]
    changed = [section for section in sections if not np.array_equal(section, edge)]
    assert 3 <= len(changed) <= 14
    for section in changed:
        steps = np.diff(section[:300, 0])
        assert steps[255] > 200  # the contour itself, and a second one at the chest's other position
        assert steps[256 + round(1.5 / patient.pixel) - 1 :].max() > 50


def test_emphysema_is_between_healthy_lung_and_the_threshold_of_950_hu():
    # By partial volume, most of an early region stays above −950 HU.
    patient = first(lambda p: p.patterns == (EMPHYSEMA,) and p.extents[EMPHYSEMA] > 0.1)
    z = patient.centres[EMPHYSEMA] * patient.height
    hu, codes = Scanner(patient).slice(z)
    blank, _ = Scanner(replace(patient, contrasts=(0.0,) * 4)).slice(z)
    inside = codes == EMPHYSEMA + 2
    assert -950 < np.median(hu[inside]) < np.median(blank[inside]) - 15


def of_protocol(protocol) -> Patient:
    return first(
        lambda p: (p.manufacturer, p.model, p.kernel) == (protocol.manufacturer, protocol.model, protocol.kernel)
    )


def reconstructed(patient: Patient, hu: np.ndarray) -> np.ndarray:
    """`hu` as this patient's scanner shows it in the middle of the lung."""
    scanner = Scanner.__new__(Scanner)  # without drawing the chest
    scanner.patient = patient
    return scanner.reconstructed(hu, 0.5 * patient.height).astype(float)


def test_every_protocol_occurs():
    assert {p.kernel for p in PATIENTS} == {protocol.kernel for protocol in PROTOCOLS}
    assert len({p.thickness for p in PATIENTS}) >= 4


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.kernel)
def test_noise_and_offset_are_those_of_the_patient(protocol):
    patient = of_protocol(protocol)
    uniform = reconstructed(patient, np.full((512, 512), -860.0))
    assert uniform.std() == pytest.approx(patient.noise, rel=0.05)
    assert uniform.mean() == pytest.approx(-860 + patient.offset, abs=1)


def test_sharp_kernels_have_steeper_edges_and_finer_noise_than_smooth_ones():
    edge = np.full((512, 512), -860.0)
    edge[:, 256:] = 40.0
    steepness, neighbours = {}, {}
    for protocol in PROTOCOLS:
        patient = of_protocol(protocol)
        image = reconstructed(patient, edge)
        steepness[protocol.kernel] = np.diff(image.mean(axis=0)).max() / patient.pixel
        noise = image[:, :200] - image[:, :200].mean()
        neighbours[protocol.kernel] = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    sharp, smooth = [p.kernel for p in PROTOCOLS if p.sharp > 0.7], [p.kernel for p in PROTOCOLS if p.sharp < 0.2]
    assert min(steepness[k] for k in sharp) > max(steepness[k] for k in smooth)
    assert max(neighbours[k] for k in sharp) < min(neighbours[k] for k in smooth)


def test_noise_falls_with_exposure_and_thickness():
    for kernel in ("G standard", "B60 sharp"):
        same = [p for p in PATIENTS if p.kernel == kernel]
        dose = [p.exposure * p.thickness for p in same]
        low, high = same[int(np.argmin(dose))], same[int(np.argmax(dose))]
        wider = np.exp((low.half_width + low.fat - high.half_width - high.fat) / 60)  # a wider chest absorbs more
        assert max(dose) > min(dose)
        assert low.noise / high.noise == pytest.approx(wider * np.sqrt(max(dose) / min(dose)), rel=0.02)


def test_headers_state_the_scanner_that_was_drawn():
    for patient in PATIENTS[:12]:
        ds = dataset(patient, np.zeros((512, 512), np.int16), 0, 4)
        assert ds.Manufacturer == patient.manufacturer
        assert ds.ManufacturerModelName == patient.model
        assert ds.ConvolutionKernel == patient.kernel
        assert float(ds.SliceThickness) == patient.thickness
        assert ds.Exposure == patient.exposure
        assert ds.PatientID.startswith("PHANTOM-HARD-")


def test_hard_and_easy_scans_have_different_identities():
    assert series_uid(patient_of(0, 1, "hard"), 4) != series_uid(patient_of(0, 1), 4)


def test_hard_scans_are_written_with_the_same_bytes_each_time_and_not_mixed_with_easy_ones(tmp_path):
    for name in ("one", "two"):
        write_phantoms(tmp_path / name, patients=1, seed=4, slices_per_scan=2, difficulty="hard", workers=1)
    one, two = (sorted((tmp_path / name).rglob("*.dcm")) for name in ("one", "two"))
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in two]
    assert pydicom.dcmread(one[0]).ConvolutionKernel in {protocol.kernel for protocol in PROTOCOLS}
    with pytest.raises(InputError, match="difficulty"):
        write_phantoms(tmp_path / "one", patients=1, seed=4, slices_per_scan=2, workers=1)


def test_an_unknown_difficulty_is_refused(tmp_path):
    for draw in (
        lambda: patient_of(0, 1, "extreme"),
        lambda: write_phantoms(tmp_path, patients=1, seed=0, difficulty="x"),
    ):
        with pytest.raises(InputError, match="difficulty must be easy or hard"):
            draw()
    assert not list(tmp_path.iterdir())
