"""The paper's numbers beside ours: what is known of them, and what somebody with the paper writes into a copy."""

import csv
import re
from importlib.resources import files
from pathlib import Path

import pytest
from tiny import TINY, stored

from ildfv.errors import InputError
from ildfv.experiments.context import Context
from ildfv.experiments.paper import APART, COLUMNS, Paper
from ildfv.experiments.run import run_experiments
from ildfv.experiments.tables import SOURCE, measured

SHIPPED = (files("ildfv.experiments") / "paper.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ran(used):
    names = list(COLUMNS)
    return stored(run_experiments(names, preset=TINY, workspace=used, device="cpu"))


def rows(document):
    """(label, columns, row) of every row; the label as paper.toml has it."""
    for table in document["tables"]:
        at = ", " + table["title"].rpartition(", ")[2] if document["name"] == "statistics" else ""
        for row in table["rows"]:
            yield row[0] + at, table["columns"], row


def test_every_row_of_the_shipped_file_is_a_row_of_ours(ran):
    shown = {(d["name"], label) for d in ran["experiments"] for label, _, _ in rows(d)}
    known = Paper.load().values
    told = {(name, label) for name, part in known.items() if name not in APART for label in part}
    missing = {(name, label) for name, label in told - shown if not label.startswith("conv") and "fc6" not in label}
    assert not missing
    assert {(name, label) for name, part in known["quoted"].items() for label in part} == {
        ("layers", "workshop paper's abstract")
    }


def test_open_cells_are_explained_once_an_experiment(ran):
    for document in ran["experiments"]:
        open_cells = any(row[1] == "the paper" and None in row[3:] for _, _, row in rows(document))
        assert open_cells == any("fill in a copy of ildfv/experiments/paper.toml" in note for note in document["notes"])


@pytest.mark.parametrize("name", COLUMNS)
def test_what_may_be_filled_in_are_the_columns_that_are_shown(ran, name):
    document = next(d for d in ran["experiments"] if d["name"] == name)
    beside_ours = [columns for _, columns, row in rows(document) if row[1] == "the paper"]
    assert set(COLUMNS[name]) == {c for columns in beside_ours for c in columns[1:]} - {*SOURCE, "device"}


def test_without_a_number_the_cell_is_open(used):
    context = Context(used, TINY, device="cpu")
    table = measured(context, "layers", "t", [context.base], {"AUC ground glass": "ground glass/auc"})
    (ours, theirs, quoted) = table.rows
    assert ours[1:3] == ["this run", "phantom"]
    assert ours[3].value is not None
    assert theirs == ["CNN", "the paper", "LTRC", None]
    assert quoted == ["workshop paper's abstract", "the paper", "533 patients", 0.982]


def filled(path: Path, **numbers: str) -> Path:
    """A copy of the shipped file with lines added under rows; numbers: of a row, its lines."""
    text = SHIPPED
    for row, lines in numbers.items():
        assert text.count(row) == 1, row
        text = text.replace(row, f"{row}\n{lines}")
    path.write_text(text, encoding="utf-8")
    return path


def test_a_filled_copy_is_printed_beside_ours(used, tmp_path):
    """Invented numbers, unlike any measured."""
    mine = filled(
        tmp_path / "mine.toml",
        **{
            '[losses."logistic, T = 4000"]': 'F = 0.1234\n"mean AUC" = 0.2345',
            '[statistics."reticular, T = 6000"]': "slices = 98765\npatients = 321",
            '[speed."patch baseline"]': '"ms a slice" = 4567.0',
        },
    )
    names = ["losses", "statistics", "speed"]
    ran = stored(run_experiments(names, preset=TINY, workspace=used, paper=mine, device="cpu"))
    losses, statistics, speed = ran["experiments"]

    (theirs,) = [r for label, _, r in rows(losses) if label == "logistic, T = 4000" and r[1] == "the paper"]
    columns = losses["tables"][1]["columns"]
    assert theirs[:3] == ["logistic, T = 4000", "the paper", "LTRC"]
    assert (theirs[columns.index("F")], theirs[columns.index("mean AUC")]) == (0.1234, 0.2345)
    assert theirs[columns.index("recall")] is None

    of_reticular = [(label, r[3:]) for label, _, r in rows(statistics) if r[:2] == ["reticular", "the paper"]]
    assert of_reticular == [("reticular, T = 6000", [98765, 321]), ("reticular, T = 4000", [None, None])]
    assert [r[-1] for _, _, r in rows(speed) if r[:2] == ["patch baseline", "the paper"]][-1] == 4567.0

    page = Path(ran["page"]).read_text(encoding="utf-8")
    assert re.search(r'class="theirs"><th scope="row">logistic, T = 4000</th>.*0\.123', page)
    with (used / "results" / "experiments" / "losses-2.csv").open() as file:
        assert ["logistic, T = 4000", "the paper"] in [row[:2] for row in csv.reader(file) if "0.1234" in row]


def test_the_command_line_prints_it(used, tmp_path):
    from typer.testing import CliRunner

    from ildfv.cli.app import app

    mine = filled(tmp_path / "mine.toml", **{'[statistics."honeycomb, T = 4000"]': "slices = 98765"})
    found = CliRunner().invoke(app, ["experiment", "statistics", "-w", str(used), "--paper", str(mine)])
    assert found.exit_code == 0, found.output
    assert "98,765" in found.output or "98765" in found.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("F = ", r"must be TOML, a copy of ildfv/experiments/paper\.toml"),
        ('[loses."logistic, T = 6000"]', 'table must be one of source; .* got "loses"'),
        ('[losses."logistic, T=6000"]\nF = 0.5', 'row of losses must be one of logistic, .* got "logistic, T='),
        ('[losses."logistic, T = 6000"]\nFscore = 0.5', 'column of .* must be one of accuracy; .* got "Fscore"'),
        ('[losses."logistic, T = 6000"]\nF = "0.5"', "F must be a number, got '0.5'"),
        ('[losses]\n"logistic, T = 6000" = 0.5', "must be written"),
        ('[statistics."all, T = 6000"]\nslices = nan', r'all, T = 6000"\] slices must be a whole number, got nan'),
        ('[statistics."all, T = 6000"]\nslices = inf', "slices must be a whole number, got inf"),
        ('[quoted.losses."x"]\nF = 0.5', r'\[quoted\.losses\."x"\] must name the data of its numbers as data, got'),
        ('[quoted.losses."x"]\ndata = 3', r'\[quoted\.losses\."x"\] data must be one line of text, got 3'),
        ('[quoted.losses."x"]\ndata = "d"\nF = "0.5"', "F must be a number, got '0.5'"),
        ('[quoted.loses."x"]\ndata = "d"', 'table of quoted must be one of .* got "loses"'),
        ("[source]\ndata = 3", r"\[source\] data must be one line of text, got 3"),
        ("source = 3", r"source must be a table, \[source\], got 3"),
        ("losses = 3", r"losses must be a table, \[losses\], got 3"),
        ('[losses."logistic, T = 6000"]\nF = 84.2', "F must be from 0 to 1, got 84.2"),
        ('[statistics."all, T = 6000"]\npatients = 700.5', "patients must be a whole number, got 700.5"),
        ('[known]\nfoo = "x"', r'name of \[known\] must be one of .* got "foo"'),
        ('[known]\npatients = "many"', "patients must be a whole number, got 'many'"),
        ("[known]\npatients = nan", "patients must be a whole number, got nan"),
    ],
)
def test_a_slip_in_the_copy_is_one_line(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Paper.load(path)
    assert "\n" not in str(caught.value) or "TOML" in str(caught.value)
    with pytest.raises(InputError, match="must be a readable file"):
        Paper.load(tmp_path / "nowhere.toml")


def test_a_copy_of_one_row_leaves_all_others_as_they_are(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[source]\npaper = "p"\n[statistics."all, T = 6000"]\nslices = 7', encoding="utf-8")
    shipped, mine = Paper.load(), Paper.load(path)
    assert mine.row("statistics", "all, T = 6000", ["slices", "patients"]) == [7, 658]
    assert mine.row("statistics", "0, T = 4000", ["slices"]) == [None]
    assert set(mine.values["statistics"]) == set(shipped.values["statistics"])
    assert mine.data == shipped.data


def test_table_1_says_which_patients_show_none(context):
    from ildfv.experiments.statistics import run

    notes = [table.note for table in run(context).tables if table.title.startswith("Table 1")]
    assert len(notes) == 2
    assert all("no pattern on any of their slices" in note for note in notes)


def test_a_time_of_the_paper_says_its_device_and_where_it_stands(tmp_path):
    from types import SimpleNamespace

    from ildfv.experiments.speed import TIME, counted
    from ildfv.experiments.tables import provenance

    label = "CNN, whole slice"
    shipped = Paper.load()
    assert (shipped.row("speed", label, [TIME]), shipped.detail("speed", label, "device")) == ([10], "K40")
    assert isinstance(shipped.row("speed", label, [TIME])[0], int)  # 0.01 s: no decimals that nobody gave
    rows = [[name, "the paper", "LTRC", None, None] for name in ("patch baseline", label)]
    context = SimpleNamespace(paper=shipped)
    note = f"{provenance(context, 'speed', rows)} {counted(context)}"
    assert note.count("this project's brief") == 2
    assert "0.01 s a slice on a K40" in note
    assert "about 240,000" in note
    path = tmp_path / "mine.toml"
    path.write_text(f'[speed."{label}"]\n"{TIME}" = 12.5\ndevice = "my card"', encoding="utf-8")
    mine = Paper.load(path)
    assert [mine.detail("speed", label, word) for word in ("device", "from")] == ["my card", None]
    path.write_text('[known]\nslices = "240,112"', encoding="utf-8")
    context = SimpleNamespace(paper=Paper.load(path))
    assert "0.01 s a slice on a K40" in provenance(context, "speed", rows)  # untouched, and still said
    assert counted(context) == ""


def test_where_a_number_of_the_paper_stands_is_said_below_the_table(ran, used, tmp_path):
    notes = {t["title"]: t["note"] for d in ran["experiments"] for t in d["tables"]}
    assert (
        "The paper's row “all, T = 6000” is from the abstract of"
        in notes["Table 1. Slices and patients per pattern, T = 6000"]
    )
    mine = filled(tmp_path / "mine.toml", **{'[losses."logistic, T = 4000"]': 'F = 0.1234\nfrom = "Table 3"'})
    (losses,) = stored(run_experiments(["losses"], preset=TINY, workspace=used, paper=mine, device="cpu"))[
        "experiments"
    ]
    assert any("row “logistic, T = 4000” is from Table 3." in t["note"] for t in losses["tables"])
