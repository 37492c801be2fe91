"""The demo refuses impossible requests before it starts, and sums its times over runs."""

import pytest

from ildfv.errors import InputError
from ildfv.pipeline import demo
from ildfv.pipeline.clock import Clock
from ildfv.pipeline.workspace import Workspace


def test_an_unknown_layer_is_refused_before_phantoms_are_drawn(tmp_path):
    with pytest.raises(InputError, match=r'layer of cnnf must be one of conv1, .* got "foo"'):
        demo.run_demo(tmp_path / "demo", layers=("conv1", "foo"))
    assert not (tmp_path / "demo").exists()


def test_fewer_patients_than_exist_are_refused(tmp_path):
    for number in range(12):
        (tmp_path / "scans" / f"patient-{number:04d}").mkdir(parents=True)
    with pytest.raises(InputError, match="scans must have at most 10 patients as requested, got 12"):
        demo.run_demo(tmp_path, patients=10, layers=())


def test_a_second_demo_keeps_the_times_of_the_first(tmp_path, monkeypatch):
    took, shown = {"train_network": 500.0}, []
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def step(name):
        def do(*args, **options):
            now[0] += took.get(name, 1.0)
            return {}

        return do

    monkeypatch.setattr("ildfv.phantom.write_phantoms", step("write_phantoms"))
    for name in ("prepare_scans", "train_network", "write_folds", "load_folds"):
        monkeypatch.setattr(demo, name, step(name))
    monkeypatch.setattr(demo, "export_predictor", step("export_predictor"))
    monkeypatch.setattr(demo, "score_baselines", lambda root, fold, progress: [])
    monkeypatch.setattr(demo, "predict_all", lambda *args, **options: ([{"scan": "scan-1"}], []))
    monkeypatch.setattr(demo, "make_report", lambda root, seconds: shown.append(dict(seconds)) or {"report": ""})
    Workspace.open_or_create(tmp_path / "workspace", version="test")
    demo.run_demo(tmp_path, layers=())
    took["train_network"] = 14.0
    demo.run_demo(tmp_path, layers=())
    assert [one["train"] for one in shown] == [500.0, 514.0]


def test_the_time_of_a_failed_step_is_counted(tmp_path):
    with pytest.raises(KeyboardInterrupt), Clock(tmp_path / "times.json").running("train"):
        raise KeyboardInterrupt
    assert Clock(tmp_path / "times.json").seconds["train"] >= 0
