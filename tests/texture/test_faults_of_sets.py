"""Sets of images with faults: each gives one line, before anything is fitted."""

import csv
import json

import numpy as np
import pytest
from small_set import OPTIONS, SMALL, images_of, run

from ildfv.errors import InputError
from ildfv.texture import TextureClassifier
from ildfv.texture.collection import by_folder, by_table
from ildfv.texture.evaluate import evaluate
from ildfv.texture.splits import Protocol


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
    TextureClassifier(**SMALL).fit(*images_of(folder)).save(folder / "model")
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
