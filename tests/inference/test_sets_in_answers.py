"""Conformal sets of a predictor: from held-out patients, in every output, with a reason if there are none."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from ildfv.inference.conformal import Conformal, fewest_patients
from ildfv.inference.model_card import model_card
from ildfv.inference.page import PLAIN, prediction_page
from ildfv.inference.predictor import Predictor
from ildfv.inference.predictor_location import INFO
from ildfv.inference.schema import ConformalSets
from ildfv.pipeline.expected import SETS_LEVEL, conformal_sets

LIMITS = ConformalSets(
    level=0.8,
    present_from=[-1e9, 1e9, None, 1e9],
    absent_to=[-1e9, 1e9, None, -1e9],
    present_patients=[5, 5, 1, 5],
    absent_patients=[5, 5, 3, 5],
)
WORDS = ["present", "absent", "present or absent", "unlike both"]


@pytest.fixture(scope="module")
def with_sets(prediction, folder):
    """The prediction of a predictor whose limits give the four patterns the four possible sets."""
    from ildfv.inference.heads import conformal_of

    answer = prediction.head
    sets = conformal_of(LIMITS).sets(answer.scores)
    return replace(prediction, heads={answer.name: replace(answer, sets=sets, sets_level=0.8, no_sets="")})


def test_limits_are_those_of_held_out_patients():
    rng = np.random.default_rng(0)
    patients, presence = np.repeat(np.arange(12), 5), rng.integers(0, 2, (60, 4))
    scores = presence + rng.normal(size=(60, 4))
    found = conformal_sets(presence, scores, patients, cross_validated=False)
    expected = Conformal.fit(presence, scores, patients, level=SETS_LEVEL)
    assert found["no_conformal"] == ""
    assert tuple(found["conformal"].present_from) == expected.present_from
    assert tuple(found["conformal"].absent_to) == expected.absent_to
    assert None not in expected.present_from


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_one_patient_fewer_than_the_fewest_excludes_nothing(level):
    for n, excluded in ((fewest_patients(level), True), (fewest_patients(level) - 1, False)):
        limits = Conformal.fit(np.ones((n, 1)), np.arange(n)[:, None], np.arange(n), level=level)
        assert (limits.present_from[0] is not None) == excluded


def test_too_few_patients_are_a_reason_and_not_limits():
    found = conformal_sets(np.ones((6, 4), int), np.zeros((6, 4)), np.repeat(np.arange(3), 2), cross_validated=False)
    assert "conformal" not in found
    assert found["no_conformal"].endswith("who show a pattern, or 4 who do not, got at most 3")


def test_a_small_study_gives_the_reason_in_every_output(prediction, folder):
    reason = Predictor.load(folder).head().no_conformal
    assert "at least 4 held-out patients" in reason
    sets = prediction.to_dict()["heads"]["fv-conv1"]
    assert sets["sets"] == {"level": None, "missing": reason}
    assert sets["per_slice"]["set"] is None
    assert reason in prediction_page(prediction)
    assert reason in model_card(Predictor.load(folder).info)


def test_json_and_csv_name_the_set_of_every_slice(with_sets):
    head = with_sets.to_dict()["heads"]["fv-conv1"]
    m = len(with_sets.positions)
    assert head["sets"] == {"level": 0.8, "missing": None}
    assert head["per_slice"]["set"] == [WORDS] * m
    for pattern, words in zip(with_sets.patterns, WORDS, strict=True):
        assert head["scan"][pattern]["slices_by_set"] == {name: m * (name == words) for name in WORDS}
    for row in csv.DictReader(with_sets.to_csv().splitlines()):
        assert [row[f"{pattern} set"] for pattern in with_sets.patterns] == WORDS


def test_the_page_says_what_cannot_be_decided(with_sets):
    page = prediction_page(with_sets)
    m = len(with_sets.positions)
    assert "Slices by conformal set, at 80\N{NO-BREAK SPACE}%" in page
    columns = re.findall(r'<th class="n">([^<]+)</th>', page)
    assert columns == ["present", "absent", "cannot be decided", "unlike both"]
    for number, pattern in enumerate(with_sets.patterns):  # each pattern has another set on all slices
        cells = "".join(
            f'<td class="n" data-label="{PLAIN.get(words, words)}">{m * (WORDS[number] == words)}</td>'
            for words in WORDS
        )
        assert f"<tr><td>{pattern}</td>{cells}</tr>" in page


def test_the_card_names_the_patients_behind_the_sets(folder):
    info = Predictor.load(folder).info
    heads = [info.heads[0].model_copy(update={"conformal": LIMITS})]
    text = model_card(info.model_copy(update={"heads": heads}))
    assert "ground glass 5 and 5, reticular 5 and 5, honeycomb 1 and 3" in text
    approximate = [heads[0].model_copy(update={"conformal": LIMITS.model_copy(update={"cross_validated": True})})]
    assert "the level is approximate" not in text
    assert "the level is approximate" in model_card(info.model_copy(update={"heads": approximate}))


def test_a_predictor_without_conformal_sets_loads_and_states_the_reason(folder, tmp_path):
    old = shutil.copytree(folder, tmp_path / "old")
    content = json.loads((old / INFO).read_text())
    for head in content["heads"]:
        del head["conformal"], head["no_conformal"]
    del content["sha256"]
    (old / INFO).write_text(json.dumps(content))
    reason = Predictor.load(old).head().no_conformal
    assert reason == "the predictor was exported by an earlier version; export it again"


def test_stored_limits_are_used_for_new_scans(folder, tmp_path):
    from scan_files import ScanFiles

    changed = shutil.copytree(folder, tmp_path / "changed")
    content = json.loads((changed / INFO).read_text())
    content["heads"][0]["conformal"] = LIMITS.model_dump()
    del content["sha256"]  # written by hand
    (changed / INFO).write_text(json.dumps(content))
    ScanFiles.nifti(tmp_path / "ct.nii.gz", ScanFiles.chest(2))
    assert Predictor.load(changed).predict(tmp_path / "ct.nii.gz").head.sets == [WORDS] * 2


def test_unknown_fields_of_stored_sets_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        ConformalSets.model_validate(LIMITS.model_dump() | {"colour": "blue"})
