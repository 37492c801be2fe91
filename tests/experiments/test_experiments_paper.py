"""The tables of the paper: every printed number, in the paper's rows and columns, next to ours for the same cell."""

import csv
import re
from pathlib import Path

import pytest
from tiny import TINY, stored

from ildfv.evaluation.tables import Table
from ildfv.experiments.paper import table, text
from ildfv.experiments.run import run_experiments
from ildfv.experiments.tables import printed
from ildfv.report.cells import as_printed, paired_rows

pytestmark = pytest.mark.slow

# The numbers of each table of arXiv:1701.05616v1 as printed, line by line.
PRINTED = {
    1: """226675 15362
          41194 200843
          20560 221477
          17392 224645
          36328 205709""",
    2: "149950 70339 20127 1603 18",
    3: """0.8642 0.7686 0.4602 0.9468 0.7959
          0.8343 0.4764 0.2314 0.8042 0.6882
          0.9102 0.7095 0.3385 0.8991 0.8028""",
    4: """0.8825 0.7667 0.5068 0.9361 0.7656
          0.8385 0.5868 0.3102 0.8008 0.6487
          0.9079 0.7190 0.4092 0.9152 0.7774""",
    5: """0.979 0.978 0.984 0.985 0.984 0.970 0.990
          0.951 0.953 0.955 0.957 0.950 0.900 0.964
          0.765 0.770 0.780 0.744 0.753 0.743 0.809
          0.985 0.990 0.987 0.989 0.988 0.985 0.995""",
    6: """0.871 0.875 0.883 0.885 0.889 0.868 0.908
          0.699 0.711 0.709 0.714 0.698 0.629 0.719
          0.349 0.384 0.386 0.356 0.384 0.344 0.409
          0.879 0.895 0.887 0.897 0.893 0.877 0.915
          0.713 0.750 0.750 0.735 0.754 0.716 0.777""",
    7: """0.984 0.955 0.953 0.948 0.948 0.930 0.943
          0.976 0.958 0.954 0.951 0.950 0.939 0.917
          0.898 0.826 0.828 0.823 0.806 0.773 0.698
          0.988 0.975 0.967 0.966 0.967 0.985 0.988""",
    8: """0.8507 0.7397 0.4308 0.8895 0.7146
          0.8825 0.7667 0.5068 0.9361 0.7656""",
    9: "4.11 32.15 22.64 0.01",
}
EXPERIMENT = {
    **{1: "statistics", 2: "statistics", 3: "losses", 4: "losses", 5: "layers", 6: "layers"},
    **{7: "size", 8: "balance", 9: "speed"},
}


def lines(number: int) -> list[list[str]]:
    return [line.split() for line in PRINTED[number].splitlines()]


@pytest.fixture(scope="module")
def ran(used):
    names = dict.fromkeys(EXPERIMENT.values())
    return stored(run_experiments(list(names), preset=TINY, workspace=used, device="cpu"))


def shown(ran, number: int) -> dict:
    """The table of that number as an experiment wrote it."""
    document = next(d for d in ran["experiments"] if d["name"] == EXPERIMENT[number])
    (found,) = [t for t in document["tables"] if t["title"].startswith(f"Table {number}. ")]
    return found


@pytest.mark.parametrize("number", PRINTED)
def test_every_printed_number_is_in_the_file(number):
    rows = [[float(word) for word in line] for line in lines(number)]
    assert [list(row) for row in table(number).rows.values()] == rows
    assert all(len(row) == len(table(number).columns) for row in rows)


def test_the_tables_agree_with_each_other_as_in_the_paper():
    """Checks sums, and rows that the paper prints twice, so that a typing error in the file is detected."""
    assert {sum(row) for row in table(1).rows.values()} == {sum(table(2).rows["slices"])} == {text("slices")}
    assert sum(table(2).rows["slices"][1:]) == text("slices") - table(2).rows["slices"][0]
    positives = [row[0] for label, row in table(1).rows.items() if label != "healthy"]
    assert sum(positives) == sum(n * slices for n, slices in enumerate(table(2).rows["slices"]))
    assert table(4).rows["classification"] == table(8).rows["w balancing"]
    cnn = [row[-1] for row in table(6).rows.values()]
    assert cnn == pytest.approx(table(4).rows["regression, smooth L1 loss"], abs=5.1e-4)


@pytest.mark.parametrize("number", PRINTED)
def test_a_table_has_the_papers_rows_and_columns_with_ours_before_theirs(ran, number):
    found, theirs = shown(ran, number), table(number)
    assert found["columns"][1:] == ["source", "data", *theirs.columns]
    for i, (label, numbers) in enumerate(theirs.rows.items()):
        ours, paper = found["rows"][2 * i : 2 * i + 2]
        assert ours[:3] == [label, "this run", "phantom"]
        assert paper == [label, "the paper", theirs.data, *numbers]
    assert len(found["rows"]) == 2 * len(theirs.rows)


@pytest.mark.parametrize("number", PRINTED)
def test_our_cells_have_a_value_if_the_preset_has_the_layer(ran, number):
    found = shown(ran, number)
    for row in found["rows"][::2]:
        for column, value in zip(found["columns"][3:], row[3:], strict=True):
            skipped = column in ("conv2", "conv3", "conv4", "conv5")  # the network of the tests has conv1 and fc6
            unknown = row[0] == "healthy"  # the scans of the tests store no healthy pixels
            assert (value is None) == (skipped or unknown), (row[0], column)


@pytest.mark.parametrize("number", PRINTED)
def test_the_page_prints_each_number_as_the_paper_does(ran, number):
    page = Path(ran["page"]).read_text(encoding="utf-8")
    start = page.index(f"<b>Table {number}. {table(number).title}</b>")
    part = page[start : page.index("</table>", start)]
    theirs = re.findall(r'<small class="theirs">([^<]*)</small></td>', part)
    expected = [word for line in lines(number) for word in line]
    assert [word.replace("\u202f", "") for word in theirs] == expected


def test_cells_of_table_5_are_the_results_of_the_systems(ran):
    document = next(d for d in ran["experiments"] if d["name"] == "layers")
    found = shown(ran, 5)
    for column, system in (("conv1", "conv1, Fisher vector"), ("CNN", "CNN")):
        at = found["columns"].index(column)
        for row in found["rows"][::2]:
            assert row[at] == document["systems"][system]["pooled"]["per_pattern"][row[0]]["auc"]


def test_tables_3_and_4_share_the_regressions_and_not_the_classification(ran):
    systems = next(d for d in ran["experiments"] if d["name"] == "losses")["systems"]
    folder = {label: one["folder"] for label, one in systems.items()}
    for name in ("L2 on counts", "smooth L1 on counts"):
        assert folder[f"{name}, T = 6000"] == folder[f"{name}, T = 4000"]
        assert systems[f"{name}, T = 6000"]["inputs"]["network"]["unit"] == 1
        assert [systems[f"{name}, T = {t}"]["threshold"] for t in (6000, 4000)] == [6000, 4000]
    assert folder["classification, T = 6000"] != folder["classification, T = 4000"]
    assert all("balanced" in folder[f"classification, T = {t}"] for t in (6000, 4000))


def test_table_8_and_table_4_have_the_same_classification(ran):
    fourth, eighth = shown(ran, 4), shown(ran, 8)
    assert fourth["rows"][0][3:] == eighth["rows"][2][3:]


def test_the_network_under_the_encodings_is_the_smooth_l1_regression_of_pixels(ran):
    systems = next(d for d in ran["experiments"] if d["name"] == "layers")["systems"]
    networks = [(system, system["inputs"]["network"]) for system in systems.values() if "network" in system["inputs"]]
    assert len(networks) >= 4  # the CNN and encodings of its layers; the baselines have no network
    for system, network in networks:
        assert (network["loss"], network["target"], network["unit"]) == ("smooth-l1", "counts", 1)
        assert system["threshold"] == 4000


def test_the_papers_numbers_are_in_the_csv(ran, used):
    with (used / "results" / "experiments" / "losses-1.csv").open() as file:
        rows = list(csv.reader(file))
    assert ["classification", "the paper", "LTRC, 240k slices", *lines(3)[0]] in rows


def test_a_cell_that_the_paper_lacks_is_an_error(context):
    with pytest.raises(AssertionError, match="has no cells"):
        printed(context, table(8), {("w balance", "Overall"): 0.5}, head="system")


def test_a_row_of_the_paper_is_paired_with_the_previous_row_if_labels_are_equal():
    a, b, c = ["a", "this run", "phantom", 0.5], ["a", "the paper", "LTRC", 0.25], ["b", "this run", "phantom", 0.125]
    assert paired_rows(Table("t", ["s", "source", "data", "F"], [a, b, c])) == [(a, b), (c, None)]
    alone = ["z", "the paper", "LTRC", 0.5]
    assert paired_rows(Table("t", ["s", "source", "data", "F"], [a, alone])) == [(a, None), (alone, None)]


def test_numbers_of_the_paper_keep_their_decimals():
    rows = [["a", "the paper", "LTRC", 0.719, 0.4092], ["b", "this run", "phantom", 0.123456, 0.5]]
    found = Table("t", ["s", "source", "data", "x", "y"], rows)
    assert [as_printed(found, 0.719), as_printed(found, 0.5), as_printed(found, 18)] == ["0.7190", "0.5000", "18"]
