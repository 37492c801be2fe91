"""Protocols, leakage, duplicates, layouts of public sets, and the commands."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.texture import TextureClassifier
from ildfv.texture import encoder as encoder_module
from ildfv.texture.collection import by_folder, by_table
from ildfv.texture.encode import load_features
from ildfv.texture.evaluate import evaluate
from ildfv.texture.generated import generate
from ildfv.texture.splits import Protocol

SMALL = {"backbone": "filters", "n_components": 2, "layers": "derivatives", "scales": (1.0,), "head": "regression"}
OPTIONS = [
    "--backbone",
    "filters",
    "--layers",
    "derivatives",
    "--components",
    "2",
    "--scales",
    "1",
    "--head",
    "regression",
]


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    monkeypatch.setattr(encoder_module, "SAMPLE", 1000)


@pytest.fixture
def folder(tmp_path):
    """Two classes of four subjects, as .npy, and a table with the subjects as groups."""
    images, labels, groups = generate(4, 1, size=20, contrast=0.9)
    rows = []
    for i, (image, label, group) in enumerate(zip(images, labels, groups, strict=True)):
        if label in ("coarse", "fine"):
            path = tmp_path / "set" / label / f"{i:02}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, image)
            rows.append((path.relative_to(tmp_path / "set").as_posix(), label, group))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["texture", *map(str, arguments)])


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
    TextureClassifier(**SMALL).fit(*_all(folder)).save(folder / "model")
    np.save(folder / "set" / "fine" / "bad.npy", np.full((20, 20), np.nan))
    ended = run("predict", folder / "model", folder / "set" / "fine", "--json")
    assert ended.exit_code == 1
    rows = json.loads(ended.stdout)["images"]
    assert [("error" in row) for row in rows] == [row["path"] == "bad.npy" for row in rows]


def test_images_with_the_same_error_are_listed_together(folder):
    TextureClassifier(**SMALL).fit(*_all(folder)).save(folder / "model")
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


def _all(folder):
    collection = by_folder(folder / "set")
    return collection.paths, collection.labels


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


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda f: [p.unlink() for p in (f / "set/fine").iterdir()], [], "at least 2 classes, got only coarse"),
        (lambda f: [p.unlink() for p in list((f / "set/fine").iterdir())[1:]], [], "fine must have at least 2 images"),
        (lambda f: np.save(f / "set/a.npy", np.ones((9, 9))), [], "got the image a.npy"),
        (lambda f: np.save(f / "set/fine/a.npy", np.ones((5, 5))), [], "a.npy must have at least 7×7 pixels"),
        (
            lambda f: None,
            ["--leave-one-group-out"],
            "--leave-one-group-out needs the group of each image, got none: give --table",
        ),
        (
            lambda f: None,
            ["--folds", "3", "--train-per-class", "2"],
            "exactly one of --train-per-class, --leave-one-group-out and --folds must be given, got 2",
        ),
        (
            lambda f: None,
            ["--folds", "2", "--scales", "x"],
            '--scales must be auto, or numbers separated by commas, such as 1,0.5, got "x"',
        ),
        (lambda f: None, ["--table", "nowhere.csv"], "nowhere.csv must be a CSV table, got a path that is not a file"),
    ],
)
def test_faults_of_a_set_give_a_one_line_error(folder, spoil, options, message):
    spoil(folder)
    ended = run("classify", folder / "set", *OPTIONS, *(options or ["--folds", "2"]))
    assert isinstance(ended.exception, InputError)
    assert message in str(ended.exception)
    assert "\n" not in str(ended.exception)


@pytest.mark.parametrize("name", ["encode", "classify", "predict"])
def test_commands_have_help_with_an_example(name):
    shown = CliRunner().invoke(app, ["texture", name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert f"Example: ildfv texture {name}" in " ".join(shown.output.split())
    assert "--json" in shown.output


def test_hidden_files_and_folders_are_ignored(folder):
    before = by_folder(folder / "set").paths
    for name in (".cache/a.npy", "__MACOSX/fine/._00.npy", "fine/.thumbnails/a.npy", "fine/.a.npy"):
        path = folder / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.ones((20, 20)))
    assert by_folder(folder / "set").paths == before


def test_a_broken_link_is_not_ignored(folder):
    (folder / "set" / "fine" / "link.npy").symlink_to(folder / "moved.npy")
    message = str(run("classify", folder / "set", "--folds", 2, *OPTIONS).exception)
    assert "link.npy must be an image file, got a path that does not exist" in message


def test_an_image_of_another_type_is_reported_before_the_first_split(folder, monkeypatch):
    monkeypatch.setattr(TextureClassifier, "fit", None)  # no split is reached
    np.save(folder / "set" / "fine" / "bytes.npy", np.ones((20, 20), np.uint8))
    message = str(run("classify", folder / "set", "--folds", 2, *OPTIONS).exception)
    assert "either all images or none must be 8-bit" in message
    assert "bytes.npy with 8 bits" in message


def test_a_small_image_determines_the_backbone_of_all_splits(folder, monkeypatch):
    """Also if it is never a training image: the network could not describe it."""
    from ildfv.texture import evaluate as module

    seen = []
    monkeypatch.setattr(module, "resolved", lambda name, smallest: seen.append((name, smallest)) or "filters")
    np.save(folder / "set" / "fine" / "small.npy", np.random.default_rng(0).normal(-800, 90, (11, 19)))
    found = evaluate(
        by_folder(folder / "set"), TextureClassifier(**SMALL | {"backbone": "auto"}), Protocol(train_per_class=2)
    )
    assert seen == [("auto", 11)]
    assert found.settings["backbone"] == "filters"


def test_a_table_with_absolute_paths_gives_relative_names(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [f"{(folder / 'set' / row['path']) if i % 2 else row['path']},{row['label']}" for i, row in enumerate(rows)]
    (folder / "mixed.csv").write_text("\n".join(["path,label", *lines]))
    (folder / "set" / "copy.npy").write_bytes((folder / "set" / rows[1]["path"]).read_bytes())
    with (folder / "mixed.csv").open("a") as file:
        file.write("\ncopy.npy,fine\n")
    ended = run("classify", "set", "--table", "mixed.csv", "--folds", 2, "--json", *OPTIONS)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["duplicates"][0]["paths"] == [rows[1]["path"], "copy.npy"]
    with (folder / "mixed.csv").open("a") as file:
        file.write(f"{folder / 'set' / 'copy.npy'},fine\n")
    message = str(run("classify", "set", "--table", "mixed.csv", "--folds", 2, *OPTIONS).exception)
    assert "each image must be listed once, got" in message
    assert "copy.npy 2 times" in message


def test_errors_of_all_images_are_printed_without_an_empty_list(folder):
    TextureClassifier(**SMALL).fit(*_all(folder)).save(folder / "model")
    (folder / "new").mkdir()
    np.save(folder / "new" / "a.npy", np.zeros(4))
    ended = run("predict", folder / "model", folder / "new")
    assert ended.exit_code == 1
    assert ended.stdout.startswith("error: a.npy: must have shape")


# -- miniatures of public sets ----------------------------------------------------------------------------------------


def test_repeats_without_random_splits_are_refused(folder):
    ended = run("classify", folder / "set", "--repeats", 3)
    assert "--repeats needs --train-per-class, got none" in str(ended.exception)


@pytest.mark.parametrize("name", ["groups", "Subject", "patient_id"])
def test_a_column_that_may_mean_group_is_refused(folder, name):
    rows = (folder / "labels.csv").read_text().replace("group", name)
    (folder / "misspelt.csv").write_text(rows)
    with pytest.raises(InputError, match=f'column "{name}" may mean group: rename or delete it'):
        by_table(folder / "misspelt.csv", folder / "set")


def test_a_table_with_two_columns_of_the_same_name_is_refused(folder):
    (folder / "twice.csv").write_text("path,label,label\na.npy,x,y\n")
    with pytest.raises(InputError, match=r"twice\.csv must have each column once, got label several times"):
        by_table(folder / "twice.csv", folder / "set")


def test_a_message_on_a_row_has_its_line_number_also_after_blank_lines(folder):
    (folder / "blank.csv").write_text("path,label\n\n\nmissing.npy,x\n")
    with pytest.raises(InputError, match=r"must list images that exist, got .* in line 4"):
        by_table(folder / "blank.csv", folder / "set")
