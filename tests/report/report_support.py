"""Documents with invented numbers, a page that has every section, and a parser of pages."""

import re
from html.parser import HTMLParser

import numpy as np

from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.statistics import statistics
from ildfv.evaluation.stratified_folds import make_folds
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import PATTERNS
from ildfv.report.content import Example, Prediction, ReportContent


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
