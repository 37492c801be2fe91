"""The page: one self-contained file, everything escaped, numbers as in the documents."""

import json
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from ildfv.errors import InputError, printable_page
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.documents import Results
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate, undecided
from ildfv.evaluation.statistics import statistics
from ildfv.evaluation.stratified_folds import make_folds
from ildfv.evaluation.thresholds import Decisions
from ildfv.inference.markup import code
from ildfv.patterns import PATTERNS
from ildfv.report.cells import count, duration, flat, groups, p_value, plain
from ildfv.report.content import Example, Prediction, ReportContent
from ildfv.report.page import _folds_text, render, shown_results, spreads, write_report

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}"


HIDDEN = "\u202egnp.x\u202c \x1b[2J \u2066 \u200b \x85 \x07"  # bidirectional marks, escape sequences, invisible


def predictions(system="fv-conv1", fold=0, seed=0, without=(), effect=2.0):
    rng = np.random.default_rng([seed, fold])
    patients = np.repeat([f"f{fold}p{i}" for i in range(8)], 10)
    presence = (rng.random((80, 4)) < 0.4).astype(np.int8)
    presence[:, list(without)] = 0
    scores = effect * presence + np.random.default_rng([len(system), fold]).normal(size=(80, 4))
    return Predictions(system, fold, scores, presence, patients, Decisions.fit(presence, scores), PATTERNS)


def document(**options):
    return evaluate(predictions(**options), data="phantom", threshold=6000, n_resamples=50)


def example(right=True, caption="patient 3fa2, slice 12"):
    rng = np.random.default_rng(0)
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 5:30] = 1
    truth, wrong = [True, False, False, False], [False, True, False, False]
    predicted = [Prediction("cnn", truth if right else wrong, [1.5, -0.2, 0.0, None])]
    return Example(rng.integers(0, 255, (64, 64), dtype=np.uint8), truth, predicted, labels, caption)


def full(**changes):
    p = predictions()
    presence, patients = np.asarray(p.presence), p.patients
    folds = make_folds(patients, presence, labels=PATTERNS, threshold=6000, n_folds=4)
    content = {
        "data": "phantom",
        "statistics": statistics(presence, patients, labels=PATTERNS, threshold=6000),
        "folds": folds.table(),
        "results": [document(system="cnn"), document()],
        "comparisons": [compare(p, predictions(system="cnn"), n_resamples=50)],
        "examples": [example(), example(right=False)],
        "settings": {"train": {"epochs": 3, "augment": False}},
        "versions": {"ildfv": "0.1.0"},
        "seconds": {"prepare": 3.25, "train": 200},
        "notes": ["honeycomb is on no slice of fold 1"],
        "made": "1 May 2026",
    }
    return ReportContent(**(content | changes))


class Page(HTMLParser):
    """A parser that collects the text and every tag with its attributes, and checks that tags nest."""

    EMPTY = ("meta", "input", "br", "hr", "img")

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def test_a_page_without_results_builds():
    page = Page(render(ReportContent(data="user")))
    assert page.open == []
    assert "Results" not in page.text
    assert "phantom" not in page.text.lower()


def test_a_full_page_has_every_section():
    page = Page(render(full()))
    assert page.open == []
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == ["data", "folds", "results", "curves", "calibration", "comparisons", "examples", "made"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{section}" for section in sections]


def test_the_page_loads_no_files_and_runs_no_scripts():
    html = render(full())
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), (tag, value)
        assert not [name for name in attributes if name.startswith("on")]
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_phantom_data_is_named_wherever_numbers_are():
    html = render(full())
    page = Page(html)
    assert "Phantom data – not clinical." in page.text
    charts = re.findall(r'<svg class="chart.*?</svg>', html, flags=re.S)
    assert len(charts) == 2 + 3 * len(PATTERNS)
    assert all("phantom data</text>" in chart for chart in charts)
    captions = re.findall(r"<caption>(.*?)</caption>", html, flags=re.S)
    numbers = [c for c in captions if not c.startswith(("Settings", "Versions", "Time"))]
    assert len(numbers) >= 8
    assert all("phantom" in c for c in numbers)


def test_the_banner_is_also_correct_for_phantoms_among_real_scans():
    text = " ".join(Page(render(full())).text.split())
    assert "Some or all of the scans are generated phantoms" in text
    assert "Every scan" not in text


def test_healthy_patients_and_healthy_slices_are_distinguished_and_one_is_singular():
    presence = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [-1] * 4])
    counted = statistics(presence, ["p", "p", "q", "r"], labels=PATTERNS, threshold=6000)
    content = ReportContent(data="user", statistics=counted)
    text = " ".join(Page(render(content)).text.split())
    assert "no patternpatients: on none of their slices266.7 %1" in text
    assert "1 slice without a label map (1 patient has no label map at all) is excluded." in text


def test_a_users_own_data_is_not_called_phantom():
    results = [evaluate(predictions(), data="user", threshold=6000, n_resamples=20)]
    html = render(ReportContent(data="user", results=results))
    assert "phantom" not in html.lower()
    with pytest.raises(InputError, match="results must be from user data, like the report, got phantom"):
        ReportContent(data="user", results=[document()])


def everywhere(text):
    """Content that contains the text in every place that may come from a file or a name."""
    results = [document(system=text), document(system="b")]
    comparisons = [compare(predictions(system=text), predictions(system="b"), n_resamples=20)]
    return full(
        title=text,
        results=results,
        comparisons=comparisons,
        examples=[
            Example(e.image, e.truth, [Prediction(text, [True] * 4, [0.0] * 4)], e.labels, text) for e in [example()]
        ],
        settings={text: {text: text}},
        versions={text: text},
        seconds={text: 1.0},
        notes=[text],
        made=text,
    )


def test_hostile_names_are_escaped_everywhere():
    html = render(everywhere(HOSTILE))
    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert('x')</script>") > 10
    assert "49" not in {value for _, a in page.tags for value in a.values() if value and "alert" in value}


def test_marks_that_change_how_text_appears_are_shown_escaped_everywhere():
    html = render(everywhere(HIDDEN))
    found = {c for c in html if not c.isprintable() and unicodedata.category(c) != "Zs"}
    assert found <= {"\n", "\t"}
    assert html.count(r"\u202egnp.x\u202c \x1b[2J \u2066 \u200b \x85 \x07") > 10


def test_line_breaks_and_letters_of_any_script_are_kept():
    text = "µm² \u2009 é 肺\t\n"
    assert printable_page(text) == text


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


def test_charts_are_well_formed_and_described():
    charts = re.findall(r"<svg .*?</svg>", render(full()), flags=re.S)
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert root.get("aria-label") or root.get("aria-hidden") == "true"
    described = [c for c in charts if 'class="chart' in c]
    assert all("cnn" in ElementTree.fromstring(c).get("aria-label") for c in described)


def test_tables_have_captions_and_headers():
    html = render(full())
    for table in re.findall(r"<table.*?</table>", html, flags=re.S):
        assert "<caption" in table
        assert 'scope="row"' in table
    ids = [a["id"] for _, a in Page(html).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_correct_and_incorrect_examples_are_distinguished():
    html = render(full())
    right, wrong = html.split("<h3>Inc")[0].split("<h3>Correctly")[1], html.split("<h3>Incorrectly")[1]
    assert right.count('<figure class="example">') == wrong.count('<figure class="example">') == 1
    assert 'class="hit"' in right
    assert 'class="miss"' in wrong
    assert 'class="alarm"' in wrong
    assert "patterns present: ground glass" in right


def test_equal_content_gives_equal_bytes_in_a_small_file(tmp_path):
    first = write_report(tmp_path / "a.html", full())
    second = write_report(tmp_path / "b.html", full())
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 3e6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


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
    assert "Values with m < 5 have no interval" in text
    assert "fewer than 30 patients" not in text


def test_the_page_distinguishes_the_overall_f_from_the_mean_of_the_slices_f():
    found, html = document(), render(full())
    text = Page(html).text
    assert "F is the harmonic mean of this precision and this recall (Eq. 10)" in text
    assert abs(found.overall.f - found.overall.mean_slice_f) > 0.0005
    table = re.search(r"<caption><b>Label sets.*?</table>", html, flags=re.S).group()
    assert f"{found.overall.f:.3f}" in table
    assert f"{found.overall.mean_slice_f:.3f}" in table


def test_the_page_states_what_the_tests_assume():
    text = Page(render(full())).text
    assert "exact for measures of decisions and approximate for the AUC" in text
    assert "not exchangeable, which is possible for systems with equal AUC" in text
    assert "do not include the variation between fits" in text
    assert "percentile rank of scores within each fold" not in text
