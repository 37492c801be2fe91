"""A T in percent of the lung is stored in the workspace and gives the same presence everywhere."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from small import SLICES, make_workspace, scan
from test_regions import LUNG
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.patterns import presence
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.labels import presence_labels, regression_targets
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.similar import _result
from ildfv.pipeline.split import labelled_presence, load_folds, split_slices, write_folds
from ildfv.pipeline.tables import slice_statistics
from ildfv.pipeline.train import train_network
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts
from ildfv.viewer.workspace_scans import workspace_scans

LUNGS = np.array([60000, 60000, 80000, 80000, 6000, 0])  # of the six slices of a scan, whose patterns have 9000 pixels


@pytest.fixture(scope="module")
def percent(tmp_path_factory):
    """A workspace with T = 12 %, that is 7200, 9600 and 720 pixels; a slice without lung has T = 1 pixel."""
    root = tmp_path_factory.mktemp("percent") / "workspace"
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4, threshold="12%")
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(8):
            parts.add(write_scan(workspace.slices_dir, replace(scan(number), lung=LUNGS)))
    write_folds(workspace)
    return workspace


@pytest.fixture(scope="module")
def trained(percent):
    """The results of a network of the workspace."""
    return train_network(percent.root, network="small", name="own", epochs=1, device="cpu")


def expected(slices):
    least = np.tile([7200, 7200, 9600, 9600, 720, 1], 8)[:, None]
    return (slices.counts >= least).astype(int)


def test_the_workspace_states_the_percentage(percent):
    assert tomllib.loads((percent.root / "workspace.toml").read_text())["threshold"] == "12%"
    assert Workspace.open(percent.root).settings.threshold == "12%"
    with pytest.raises(InputError, match=r"threshold must be '12%' as in .*workspace\.toml, got 6000: use another"):
        Workspace.open_or_create(percent.root, version="test", threshold=6000)


def test_a_workspace_in_pixels_has_the_same_bytes_as_before(tmp_path):
    Workspace.open_or_create(tmp_path, version="test", salt="0123456789abcdef", threshold=4000)
    text = 'format = 1\nversion = "test"\nsalt = "0123456789abcdef"\nthreshold = 4000\nfolds = 5\nseed = 0\n'
    assert (tmp_path / "workspace.toml").read_text() == text


@pytest.mark.parametrize("text", ['"12 percent"', '"0%"', "0"])
def test_an_invalid_threshold_in_the_file_is_refused(tmp_path, text):
    Workspace.open_or_create(tmp_path, version="test")
    path = tmp_path / "workspace.toml"
    path.write_text(path.read_text().replace("threshold = 6000", f"threshold = {text}"))
    with pytest.raises(InputError, match=r"threshold: .*T must be a number of pixels of at least 1, or a percentage"):
        Workspace.open(tmp_path)


def test_presence_is_the_same_everywhere(percent):
    slices, every = percent.slices(), np.arange(8 * SLICES)
    truth = expected(slices)
    assert 0 < truth[2::6].sum() + truth[3::6].sum() + 1 < truth.sum()  # 9000 of 80000 pixels are too few
    np.testing.assert_array_equal(labelled_presence(slices, every, "12%"), truth)
    np.testing.assert_array_equal(presence_labels(slices, every, "12%"), truth)
    np.testing.assert_array_equal(regression_targets("step", slices, every, "12%"), truth)
    viewed, _, _ = workspace_scans(percent)
    np.testing.assert_array_equal(np.concatenate([scan.truth for scan in viewed]), truth)
    counted = slice_statistics(percent.root)
    assert counted["threshold"] == "12%"
    assert [row["slices"] for row in counted["per_pattern"].values()] == truth.sum(axis=0).tolist()
    assert slice_statistics(percent.root, "9000")["per_pattern"] != counted["per_pattern"]
    present = [len(_result(slices, percent, int(index), 0.0)["present"]) for index in every]
    assert present == truth.sum(axis=1).tolist()


def test_folds_are_stratified_by_it_and_state_it(percent):
    folds = load_folds(percent)
    assert folds.threshold == "12%"
    truth, patients = expected(percent.slices()), percent.slices().patients
    for patient, profile in folds.profiles.items():
        assert list(profile.patterns) == truth[patients == patient].sum(axis=0).tolist()


def test_targets_of_counts_are_in_units_of_the_percentage(percent):
    slices = percent.slices()
    counts = regression_targets("counts", slices, np.arange(6), "12%")
    fraction = regression_targets("fraction", slices, np.arange(6), "12%")
    np.testing.assert_allclose(counts, fraction / 0.12, rtol=1e-6)
    assert np.isnan(counts[5]).any()  # labelled pixels without lung
    ramp = regression_targets("ramp", slices, np.arange(6), "12%")
    np.testing.assert_allclose(ramp, np.clip((fraction - 0.06) / 0.12, 0, 1), atol=1e-6)


def test_a_network_is_trained_on_it(percent, trained):
    slices, test = percent.slices(), split_slices(percent.slices(), load_folds(percent), 0).test
    assert trained.threshold == "12%"
    assert trained.settings["train"]["threshold"] == "12%"
    positives = [row.positives for row in trained.per_pattern.values()]
    assert positives == expected(slices)[test].sum(axis=0).tolist()


def test_a_network_that_regresses_pixels_needs_a_threshold_in_pixels(percent):
    given = {"network": "small", "name": "counts", "epochs": 1, "device": "cpu", "loss": "l2", "target": "counts"}
    with pytest.raises(InputError, match='threshold must be a number of pixels for target "counts", got 12%: use'):
        train_network(percent.root, **given)
    assert train_network(percent.root, threshold=6000, **given).threshold == "12%"


def test_an_exported_predictor_states_it(percent, trained, tmp_path):
    encode_slices(percent.root, replace(LUNG, region="slice"), model="own")
    regress_encoding(percent.root, layer="conv1")
    info = export_predictor(percent.root, tmp_path / "predictor", layer="conv1", cnn=True)
    for head in info.heads:
        assert head.threshold == "12%"
        assert head.counts  # curves from score to pixels, because the scores are not in units of pixels
    assert {head.target for head in info.heads} >= {"scaled counts", "presence"}
    card = (tmp_path / "predictor" / "MODEL_CARD.md").read_text()
    assert "A pattern counts as present if it covers at least 12% of the lung pixels." in card


def test_a_report_states_it(percent, trained):
    make_report(percent.root)
    page = (percent.root / "report.html").read_text()
    assert "covers at least 12% of the lung pixels." in " ".join(page.split())


def test_stats_of_the_command_line_accept_both_units(percent, tmp_path):
    def run(*options):
        return CliRunner().invoke(app, ["stats", "-w", str(percent.root), *options])

    assert "T = 12% of the lung pixels" in run().output
    assert "T = 9000 pixels" in run("--threshold", "9000").output
    assert json.loads(run("--threshold", "9000", "--json").output)["threshold"] == 9000
    assert "T must be a number of pixels" in str(run("--threshold", "0%").exception)


def test_equal_lungs_make_a_percentage_a_number_of_pixels(tmp_path):
    for name, threshold in (("percent", "10%"), ("pixels", 6000)):
        options = {"salt": "0123456789abcdef", "folds": 4, "threshold": threshold}
        Workspace.open_or_create(tmp_path / name, version="test", **options)
        make_workspace(tmp_path / name, model=False)  # 60,000 lung pixels on every slice
    one, other = (load_folds(Workspace.open(tmp_path / name)) for name in ("percent", "pixels"))
    assert one.members == other.members
    slices = Workspace.open(tmp_path / "pixels").slices()
    np.testing.assert_array_equal(presence(slices.counts, "10%", slices.lung), presence(slices.counts, 6000))
