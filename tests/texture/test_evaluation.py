"""Protocols, leakage, duplicates, layouts of public sets, and the commands."""

import json

import numpy as np
import pytest
from small_set import OPTIONS, SMALL, images_of, run
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.texture import TextureClassifier
from ildfv.texture.collection import by_folder, by_table
from ildfv.texture.encode import load_features
from ildfv.texture.evaluate import evaluate
from ildfv.texture.splits import Protocol


@pytest.mark.parametrize(
    ("protocol", "number"),
    [
        (Protocol(train_per_class=3, repeats=4), 4),
        (Protocol(leave_one_group_out=True), 4),
        (Protocol(folds=2), 2),
    ],
)
def test_no_image_and_no_group_is_on_both_sides_of_a_split(folder, protocol, number):
    collection = by_table(folder / "labels.csv", folder / "set")
    splits = protocol.splits(collection)
    groups = np.asarray(collection.groups)
    assert len(splits) == number
    for train, test in splits:
        assert not set(train) & set(test)
        if protocol.train_per_class is None:
            assert not set(groups[train]) & set(groups[test])
        else:
            assert np.unique(np.asarray(collection.labels)[train], return_counts=True)[1].tolist() == [3, 3]


def test_test_images_change_nothing_that_is_fitted(folder):
    collection = by_folder(folder / "set")
    protocol = Protocol(train_per_class=3, repeats=1)
    before = evaluate(collection, TextureClassifier(**SMALL), protocol)
    for i in before.test:
        np.save(collection.paths[i], np.random.default_rng(int(i)).normal(size=(25, 25)) * 1e4)
    after = evaluate(collection, TextureClassifier(**SMALL), protocol)
    np.testing.assert_array_equal(before.last.head_.coef, after.last.head_.coef)
    assert before.last.encoder_.range_ == after.last.encoder_.range_


def test_duplicates_across_splits_are_reported(folder):
    first = by_folder(folder / "set").paths[0]
    np.save(first.with_name("copy.npy"), np.load(first))
    found = evaluate(by_folder(folder / "set"), TextureClassifier(**SMALL), Protocol(folds=4), named=lambda p: p.name)
    assert [sorted(one["paths"]) for one in found.duplicates] == [sorted([first.name, "copy.npy"])]
    assert found.duplicates[0]["splits_with_both_sides"] in (0, 2)
    assert len(found.duplicates[0]["classes"]) == 1


def test_accuracy_confusion_and_misclassified_agree(folder):
    result = evaluate(by_folder(folder / "set"), TextureClassifier(**SMALL), Protocol(folds=4)).to_dict()
    confusion = np.array(result["confusion"])
    assert confusion.sum() == 8
    assert len(result["misclassified"]) == confusion.sum() - np.trace(confusion)
    assert result["accuracy"]["pooled"] == np.trace(confusion) / 8
    assert result["accuracy"]["mean"] == pytest.approx(np.mean(result["accuracy"]["splits"]))


def test_classify_prints_json_and_writes_page_and_model(folder):
    page, model = folder / "page.html", folder / "model"
    ended = run(
        "classify", folder / "set", "--table", folder / "labels.csv", "--leave-one-group-out",
        "--page", page, "--model", model, "--json", *OPTIONS,
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    result = json.loads(ended.stdout)
    assert set(result["accuracy"]) == {"mean", "sd", "pooled", "splits"}
    text = page.read_text()
    assert text.count("<figure>") == 2 + len(result["misclassified"])
    assert "Confusion matrix" in text
    assert str(folder) not in text
    assert "<li>scales: filters 1</li><li>classifier: regression in 4 splits</li>" in text
    answered = run("predict", model, folder / "set" / "fine", "--json")
    assert answered.exit_code == 0, answered.output
    rows = json.loads(answered.stdout)["images"]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert all(row["label"] in ("coarse", "fine") for row in rows)


def test_the_page_names_the_classes_of_duplicates(folder):
    (folder / "set" / "fine" / "copy.npy").write_bytes(next((folder / "set" / "coarse").iterdir()).read_bytes())
    ended = run("classify", folder / "set", "--folds", 2, "--page", folder / "page.html", *OPTIONS)
    assert ended.exit_code == 0, ended.output
    assert "they have different classes: coarse, fine" in (folder / "page.html").read_text()


def test_an_image_that_cannot_be_predicted_does_not_stop_the_others(folder):
    TextureClassifier(**SMALL).fit(*images_of(folder)).save(folder / "model")
    np.save(folder / "set" / "fine" / "bad.npy", np.full((20, 20), np.nan))
    ended = run("predict", folder / "model", folder / "set" / "fine", "--json")
    assert ended.exit_code == 1
    rows = json.loads(ended.stdout)["images"]
    assert [("error" in row) for row in rows] == [row["path"] == "bad.npy" for row in rows]


def test_images_with_the_same_error_are_listed_together(folder):
    TextureClassifier(**SMALL).fit(*images_of(folder)).save(folder / "model")
    for i in range(8):
        np.save(folder / "set" / "fine" / f"bad-{i}.npy", np.full((20, 20), np.nan))
    np.save(folder / "set" / "fine" / "flat.npy", np.ones(20))
    lines = [line for line in run("predict", folder / "model", folder / "set" / "fine").output.splitlines() if line]
    text = " ".join(" ".join(lines).split())
    assert text.count("error:") == 2
    assert "error: bad-0.npy, bad-1.npy, bad-2.npy, bad-3.npy, bad-4.npy and 3 more: must contain finite" in text
    assert "error: flat.npy: must have shape" in text
    for command in (("classify", folder / "set", "--folds", 4), ("encode", folder / "set", "--out", folder / "out")):
        message = str(run(*command, "--backbone", "filters").exception)  # both read all images first
        assert "got 9 of 17 that are not:" in message
        assert "bad-0.npy must contain finite values" in message
        assert message.endswith("also bad-1.npy, bad-2.npy, bad-3.npy, bad-4.npy, bad-5.npy and 3 more")


def test_encode_writes_vectors_and_resumes(folder, monkeypatch):
    from ildfv.texture import encode as module

    monkeypatch.setattr(module, "PART", 3)
    command = ("encode", folder / "set", "--out", folder / "out", "--json", *OPTIONS[:-2])
    ended = run(*command)
    assert ended.exit_code == 0, ended.output
    vectors, names = load_features(folder / "out")
    assert vectors.shape == (8, 2 * 2 * 18)
    assert names[0].startswith("coarse/")
    with pytest.raises(InputError, match=r"features\.json, which `ildfv texture encode` writes last.*: check the path"):
        load_features(folder / "set")
    parts = sorted((folder / "out").glob("features-*.npy"))
    before = {part.name: part.read_bytes() for part in parts}
    parts[1].unlink()
    monkeypatch.setattr(module.TextureEncoder, "fit", None)  # the encoder is not fitted again
    assert run(*command).exit_code == 0
    assert {part.name: part.read_bytes() for part in parts} == before
    np.save(folder / "set" / "fine" / "new.npy", np.ones((20, 20)))
    assert "must be new or have features of the same images" in str(run(*command).exception)


@pytest.mark.parametrize("name", ["encode", "classify", "predict"])
def test_commands_have_help_with_an_example(name):
    shown = CliRunner().invoke(app, ["texture", name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert f"Example: ildfv texture {name}" in " ".join(shown.output.split())
    assert "--json" in shown.output
