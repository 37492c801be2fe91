"""The page: numbers as in the documents, systems, thresholds, settings and notes."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from report_support import Page, document, example, full, predictions

from ildfv.evaluation.comparisons import compare_over_seeds
from ildfv.evaluation.documents import Results
from ildfv.evaluation.results import evaluate, undecided
from ildfv.inference.markup import code
from ildfv.patterns import PATTERNS
from ildfv.report.cells import count, duration, flat, groups, p_value, plain
from ildfv.report.content import Prediction, ReportContent
from ildfv.report.page import _folds_text, render, shown_results, spreads


def test_undefined_is_a_dash_and_never_a_zero():
    html = render(ReportContent(data="phantom", results=[document(without=[2])]))
    table = re.search(r"<caption><b>AUC</b>.*?</table>", html, flags=re.S).group()
    cells = re.findall(r"<td>(.*?)</td>", table, flags=re.S)
    assert cells[2] == "–"
    assert "–" not in cells[0].split("<small>")[0]
    row = r"<th scope=\"row\">honeycomb</th><td>0</td><td>8</td>(<td>0\.000</td>.*?)</tr>"
    details = re.search(row, html, flags=re.S).group(1)
    values = re.findall(r"<td>(.*?)</td>", details, flags=re.S)
    assert values == ["0.000"] + ["–"] * 9


def test_a_note_states_that_a_pattern_without_a_threshold_counts_as_missed():
    p = predictions()
    decisions = replace(p.decisions, thresholds=(None, *p.decisions.thresholds[1:]))
    one = evaluate(replace(p, decisions=decisions), data="phantom", threshold=6000, n_resamples=50)
    (line,) = undecided(one)
    assert line.startswith("ground glass has no decision threshold if fold 0 is held out, because no validation slice")
    html = render(ReportContent(data="phantom", results=[one, one.model_copy(update={"system": "other"})]))
    assert html.count(line) == 1
    assert undecided(document()) == []


def test_patterns_without_a_threshold_in_the_same_folds_share_a_note():
    p = predictions()
    decisions = replace(p.decisions, thresholds=(None, None, *p.decisions.thresholds[2:]))
    one = evaluate(replace(p, decisions=decisions), data="phantom", threshold=6000, n_resamples=50)
    (line,) = undecided(one)
    assert "ground glass and reticular have no decision threshold if fold 0 is held out" in line
    assert "no validation slice shows them at T = 6000" in line


def test_numbers_on_the_page_are_those_of_the_documents():
    d = document()
    text = Page(render(ReportContent(data="phantom", results=[d]))).text
    for pattern in PATTERNS:
        row = d.per_pattern[pattern]
        for name in ("f", "auc", "ap", "brier", "precision"):
            assert f"{row.estimate(name)[0]:.3f}" in text
        low, high = row.f_interval
        assert f"{low:.3f}–{high:.3f}" in text


def test_one_document_is_shown_per_system_and_folds_are_summarised():
    results = [document(fold=2), document(fold=1), document(system="cnn", fold=0)]
    assert [(d.system, d.fold) for d in shown_results(results)] == [("fv-conv1", 1), ("cnn", 0)]
    assert [(s.system, s.folds) for s in spreads(results)] == [("fv-conv1", [2, 1])]
    both = [predictions(fold=0), predictions(fold=1)]
    pooled = evaluate(both, data="phantom", threshold=6000, n_resamples=20)
    assert shown_results([*results, pooled])[0].fold is None
    assert "±" in Page(render(ReportContent(data="phantom", results=[*results, pooled]))).text


def test_results_read_back_from_json_give_the_same_page():
    results = [document(), document(system="cnn", without=[1])]
    again = [Results.from_dict(json.loads(json.dumps(one.to_dict()))) for one in results]
    assert render(ReportContent(data="phantom", results=again)) == render(
        ReportContent(data="phantom", results=results)
    )


def test_of_many_systems_eight_are_drawn_and_all_are_in_the_tables():
    html = render(ReportContent(data="phantom", results=[document(system=f"fv-{i}") for i in range(11)]))
    page = Page(html)
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert "Charts show the 8 of 11 systems with the largest mean AUC; tables show all of them." in page.text
    assert re.search(r"<caption><b>F</b>.*?</table>", html, flags=re.S).group().count('scope="row"') == 11
    assert not {"s8", "s9", "s10"} & {name for _, a in page.tags for name in (a.get("class") or "").split()}


def test_the_best_systems_are_in_the_headline_and_drawn():
    def scored(system, auc):
        d = document(system=system)
        return d.model_copy(update={"overall": d.overall.model_copy(update={"mean_auc": auc})})

    aucs = [None, *np.linspace(0.5, 0.9, 9).tolist()]
    html = render(ReportContent(data="phantom", results=[scored(f"fv-{i}", auc) for i, auc in enumerate(aucs)]))
    headline = re.search(r'<dl class="glance">.*?</dl>', html, flags=re.S).group()
    assert re.findall(r"(fv-\d), mean AUC", headline) == ["fv-9", "fv-8", "fv-7", "fv-6"]
    toggles = re.search(r"<fieldset.*?</fieldset>", html, flags=re.S).group()
    assert re.findall(r"fv-\d", toggles) == [f"fv-{i}" for i in range(9, 1, -1)]
    rows = re.search(r"<caption><b>AUC</b>.*?</table>", html, flags=re.S).group()
    assert re.findall(r"fv-\d", rows) == [f"fv-{i}" for i in range(10)]  # tables keep the given order


def test_a_pattern_without_a_threshold_is_not_shown_as_missed():
    one = replace(example(), predictions=[Prediction("cnn", [None, False, True, None], [1.5, -0.2, 0.0, 0.3])])
    html = render(full(examples=[one]))
    card = re.search(r'<figure class="example">.*?</figure>', html, flags=re.S).group()
    assert 'class="miss"' not in card
    assert card.count("†</span>") == card.count("(no threshold)") == 2
    assert "†: the pattern has no decision threshold and is never predicted" in html
    assert "†" not in render(full())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (count(1234567), "1\u202f234\u202f567"),
        (count(None), "–"),
        (p_value(0.0004), "< 0.001"),
        (p_value(None), "–"),
        (p_value(0.0312), "0.031"),
        (duration(4.21), "4.2 s"),
        (duration(200), "3 min 20 s"),
        (duration(7500), "2 h 5 min"),
        (plain(None), "–"),
        (plain(False), "no"),
        (plain([1, 0.5]), "1, 0.5"),
        (plain("ab12" * 16), "ab12ab12ab12ab12…"),
    ],
)
def test_numbers_are_formatted_for_readers(value, text):
    assert value == text


def test_settings_are_shown_as_one_small_table_per_step():
    settings = {"seed": 1, "train": {"epochs": 3, "loss": {"name": "l2"}}, "systems": {"a": {"k": 32}, "b": {"k": 8}}}
    assert groups(settings) == [
        ("Settings", {"seed": 1}),
        ("Settings: train", {"epochs": 3, "loss.name": "l2"}),
        ("Settings: a", {"k": 32}),
        ("Settings: b", {"k": 8}),
    ]
    assert groups({}) == []


def test_nested_settings_are_flattened_in_order():
    assert list(flat({"a": {"b": 1, "c": {"d": 2}}, "e": 3})) == [("a.b", 1), ("a.c.d", 2), ("e", 3)]


def test_an_empty_setting_is_shown_as_none():
    assert list(flat({"networks": {"vgg19": {}}})) == [("networks.vgg19", {})]
    assert plain({}) == "none"


def test_the_page_states_the_slices_each_system_was_scored_on():
    one = document(system="cnn").model_copy(update={"n_slices": 1200, "n_patients": 30})
    assert _folds_text([one, one.model_copy(update={"system": "fv"})]) == f"fold 0: {count(1200)} slices of 30 patients"
    pooled = {"system": "fv", "fold": None, "folds": [0, 1], "n_slices": 2400, "n_patients": 60}
    other = one.model_copy(update=pooled)
    assert _folds_text([one, other]) == (
        f"fold 0: {count(1200)} slices of 30 patients (cnn); "
        f"folds 0, 1 (pooled): {count(2400)} slices of 60 patients (fv)"
    )


def test_text_in_backticks_is_code_and_the_rest_is_escaped():
    assert code("run `ildfv <x>` & wait") == "run <code>ildfv &lt;x&gt;</code> &amp; wait"
    assert code("one ` alone") == "one ` alone"


def test_the_number_of_patients_behind_each_value_is_shown():
    html = render(full())
    table = re.search(r"<caption><b>AUC</b>.*?</table>", html, flags=re.S).group()
    for pattern in PATTERNS:
        m = document().per_pattern[pattern].patients["auc"]
        assert f'<th scope="col">{pattern}<small>m = {m}</small></th>' in table
    text = Page(html).text
    assert "Values with m < 5, and values that are equal on all resamples, have no interval" in text
    assert "fewer than 30 patients" not in text


def test_the_page_distinguishes_the_overall_f_from_the_mean_of_the_slices_f():
    found, html = document(), render(full())
    text = Page(html).text
    assert "F is the harmonic mean of this precision and this recall (Eq. 10)" in text
    assert abs(found.overall.f - found.overall.mean_slice_f) > 0.0005
    table = re.search(r"<caption><b>Label sets.*?</table>", html, flags=re.S).group()
    assert f"{found.overall.f:.3f}" in table
    assert f"{found.overall.mean_slice_f:.3f}" in table


def test_every_measure_of_a_comparison_has_a_title():
    text = Page(render(full())).text
    assert "Mean AUC of the patterns with enough patients" in text
    assert "supported_mean_auc" not in text


def test_with_several_seeds_the_page_describes_t_tests_without_a_smallest_p_value():
    pairs = [(predictions(seed=s), predictions(system="cnn", seed=s)) for s in (0, 0)]
    several = Page(render(full(comparisons=[compare_over_seeds(pairs, n_resamples=50)]))).text
    one = Page(render(full())).text
    assert "With 8 patients, no p value can be below 0.008" in one
    assert "no p value can be below" not in several
    assert "t tests, include the variation between seeds" in several
    assert "The intervals are t intervals with m − 1 degrees of freedom" not in several


def test_the_page_states_what_the_tests_assume():
    text = Page(render(full())).text
    assert "exact for measures of decisions and approximate for the AUC" in text
    assert "not exchangeable, which is possible for systems with equal AUC" in text
    assert "do not include the variation between fits" in text
    assert "percentile rank of scores within each fold" not in text
