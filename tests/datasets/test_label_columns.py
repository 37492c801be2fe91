"""Columns of a label file: other columns are listed and not used; unclear columns are refused with a remedy."""

import pytest

from ildfv.datasets.label_file import read_label_file
from ildfv.errors import InputError
from ildfv.patterns import ABSENT, PRESENT, UNLABELLED

FOUR = "ground glass,reticular,honeycomb,emphysema"


def read(tmp_path, text, ignored=(), encoding="utf-8"):
    path = tmp_path / "slices.csv"
    path.write_bytes(text.encode(encoding))
    return read_label_file(path, ignored)


def test_other_columns_are_listed_and_not_used(tmp_path):
    text = f'Reader,file,age,{FOUR},sex,notes,smoker\nAB,a.dcm,71,1,0,0,,f,"two, or three",1\nAB,b.dcm,,0,0,1,1,m,,0\n'
    found = read(tmp_path, text)
    assert [row.counts for row in found.rows] == [
        [PRESENT, ABSENT, ABSENT, UNLABELLED],
        [ABSENT, ABSENT, PRESENT, PRESENT],
    ]
    assert found.unused == ("Reader", "age", "sex", "notes", "smoker")
    (note,) = found.notes()
    assert note == 'columns of slices.csv that are not used (5): "Reader", "age", "sex", "notes", "smoker"'


def test_a_pattern_without_a_column_is_named(tmp_path):
    (note,) = read(tmp_path, "file,emphysema,reticular\na,1,0\n").notes()
    assert note == "slices.csv has no column for ground glass, honeycomb: the presence is unknown"


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("emphisema", "emphysema"),
        ("Emphysem", "emphysema"),
        ("emphysema grade", "emphysema"),
        ("emphysema_pixel", "emphysema"),
        ("EMPH", "emphysema"),
    ],
)
def test_a_misspelt_pattern_is_refused_and_can_be_ignored(tmp_path, name, means):
    text = f"file,ground glass,reticular,honeycomb,{name}\na,1,0,0,1\n"
    with pytest.raises(InputError, match=f'column "{name}" may mean {means}: rename it, or give --ignore-column'):
        read(tmp_path, text)
    found = read(tmp_path, text, [name])
    assert found.unused == (name,)
    assert found.rows[0].counts[3] == UNLABELLED


@pytest.mark.parametrize("name", ["GGO", "groundglas", "Ground glass opacity", "GG"])
def test_other_names_of_ground_glass_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=f'column "{name}" may mean ground glass'):
        read(tmp_path, f"file,{name},reticular,honeycomb,emphysema\na,1,0,0,1\n")


def test_all_unclear_columns_are_in_one_message(tmp_path):
    with pytest.raises(InputError, match=r"--ignore-column reticulation --ignore-column 'honey combing'$"):
        read(tmp_path, "file,reticulation,honey combing,emphysema\na,1,0,0\n")


@pytest.mark.parametrize("name", ["Patient ID", "patientid", "pateint", "subject"])
def test_a_column_that_may_mean_patient_is_refused_unless_there_is_one(tmp_path, name):
    with pytest.raises(InputError, match=f'column "{name}" may mean patient'):
        read(tmp_path, f"file,{name},{FOUR}\na,P1,1,0,0,1\n")
    assert read(tmp_path, f"file,{name},patient,{FOUR}\na,P1,P2,1,0,0,1\n").rows[0].patient == "P2"


@pytest.mark.parametrize(
    ("keys", "means"),
    [
        ("series,slice", "position or instance"),
        ("scan,positon", "position"),
        ("scan,z", "position"),
        ("patient,filename", "file"),
        ("series,instance_number", "instance"),
    ],
)
def test_a_column_that_may_name_slices_is_refused(tmp_path, keys, means):
    with pytest.raises(InputError, match=f'column "{keys.split(",")[1]}" may mean {means}: rename it'):
        read(tmp_path, f"{keys},{FOUR}\na,3,1,0,0,1\n")


def test_similar_names_of_columns_that_are_present_are_not_used(tmp_path):
    found = read(tmp_path, f"file,series uid,slice,emphysema grade,{FOUR}\na,1.2,7,3,1,0,0,1\n")
    assert found.unused == ("series uid", "slice", "emphysema grade")


def test_a_column_with_labels_is_refused_if_a_pattern_has_no_column(tmp_path):
    text = "file,ground glass,reticular,honeycomb,bullae,smoker\na,1,0,0,1,yes\nb,1,0,0,,no\n"
    rule = 'columns "bullae" and "smoker" may be labels of a pattern, because there is no column for emphysema'
    with pytest.raises(InputError, match=f"{rule}: rename them, or give --ignore-column bullae --ignore-column smoker"):
        read(tmp_path, text)
    found = read(tmp_path, text, ["bullae", "Smoker"])
    assert found.unused == ("bullae", "smoker")


@pytest.mark.parametrize("given", ["series", "scan"])
def test_two_columns_that_name_the_slice_are_refused_and_one_can_be_ignored(tmp_path, given):
    text = f"file,{given},position,emphysema\na,1,2,1\n"
    with pytest.raises(InputError, match="--ignore-column file"):
        read(tmp_path, text)
    assert read(tmp_path, text, ["file"]).where == "position"
    assert read(tmp_path, text, [given, "position"]).scan == "file"


def test_an_ignored_column_must_exist(tmp_path):
    with pytest.raises(InputError, match=r'--ignore-column must name a column of .*, got "age": choose one of "file"'):
        read(tmp_path, "file,emphysema\na,1\n", ["age"])


def test_a_table_saved_by_a_spreadsheet_in_germany_is_read(tmp_path):
    text = "sep=;\r\nSeries;Position;Emphysema;Honeycomb pixels;;\r\n1.2;-103,5;WAHR;12;;\r\n;;;;;\r\n"
    with pytest.raises(InputError, match=r"line 3: emphysema must be 1, yes or true .*, got 'WAHR'"):
        read(tmp_path, text, encoding="utf-8-sig")
    found = read(tmp_path, text.replace("WAHR", "TRUE"), encoding="utf-8-sig")
    (row,) = found.rows
    assert (row.place, row.counts, row.line) == ("-103.5", [UNLABELLED, UNLABELLED, 12, PRESENT], 3)
    assert found.unused == ()


def test_a_table_saved_by_pandas_with_its_index_is_read(tmp_path):
    found = read(tmp_path, f",file,{FOUR}\n0,a,1.0,0.0,,1.0\n1,b,0.0,0.0,0.0,0.0\n")
    assert found.unused == ("column 1 without a name",)


def test_a_comma_in_the_name_of_a_column_is_not_the_delimiter(tmp_path):
    found = read(tmp_path, f"file;age, in years;{FOUR.replace(',', ';')}\na;71;1;0;0;1\n")
    assert found.unused == ("age, in years",)


@pytest.mark.parametrize("value", ["1.234,5", "1,2,3"])
def test_a_number_with_two_separators_is_refused(tmp_path, value):
    with pytest.raises(InputError, match="emphysema pixels must be an integer"):
        read(tmp_path, f"file;emphysema pixels\na;{value}\n")


@pytest.mark.parametrize("unknown", ["", "NA", "NaN", "<NA>"])
def test_a_pattern_without_any_known_label_is_named(tmp_path, unknown):
    (note,) = read(tmp_path, f"file,{FOUR}\na,1,0,1,{unknown}\nb,1,0,0,{unknown}\n").notes()
    assert note == "slices.csv has no known label of emphysema: the presence is unknown"


@pytest.mark.parametrize("column", ["emphysema", "Emphysema pixels"])
def test_an_ignored_column_of_a_pattern_is_not_called_missing(tmp_path, column):
    found = read(tmp_path, f"file,ground glass,reticular,{column}\na,1,0,1\n", [column])
    assert found.notes()[1:] == [
        "slices.csv has no column for honeycomb: the presence is unknown",
        "slices.csv has only ignored columns for emphysema: the presence is unknown",
    ]


def test_a_second_column_with_a_similar_name_is_refused_for_the_similarity(tmp_path):
    text = "file,emphysema,emphisema,smoker,bullae\na,1,0,0,1\nb,1,1,1,0\n"
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    similar = 'column "emphisema" may be labels of a pattern, because the name is similar to emphysema'
    assert similar in str(error.value)
    missing = 'columns "smoker" and "bullae" may be labels of a pattern, because there is no column for ground glass, '
    assert f"{missing}reticular or honeycomb: rename them" in str(error.value)


def test_the_error_for_an_invalid_label_lists_the_values_for_unknown(tmp_path):
    with pytest.raises(InputError, match="or empty, NaN, NA or <NA> if unknown, got 'maybe'"):
        read(tmp_path, f"file,{FOUR}\na,1,0,0,maybe\n")
