"""How many scans Platt's calibration needs: its loss on new scans, compared with that of the prevalence alone.

Scores are normal with unit variance, and their means with and without the pattern differ by the distance that gives the
stated AUC. m scans with and m without the pattern are used for calibration. The gain is the reduction of the mean log
loss on new scans compared with always stating 50 %, in nats. `by chance` is the probability that scores without any
information separate the m + m scans perfectly.

    python -m bench.bench_calibration
"""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from ildfv.evaluation.thresholds import fit_sigmoid

SIZES, AUCS, DRAWS = (1, 2, 3, 4, 5, 7, 10), (0.5, 0.7, 0.8, 0.9), 400


def main() -> None:
    """Prints a table."""
    random, nodes = np.random.default_rng(0), np.linspace(-6, 6, 121)
    print("| m | by chance |", " | ".join(f"AUC {auc}: gain, wrong slope" for auc in AUCS), "|")
    print("|---" * (2 + len(AUCS)) + "|")
    for m in SIZES:
        cells = []
        for auc in AUCS:
            distance = np.sqrt(2) * norm.ppf(auc)
            gains, wrong = [], 0
            for _ in range(DRAWS):
                truth = np.repeat([1, 0], m)
                sigmoid = fit_sigmoid(truth, random.normal(size=2 * m) + distance * truth)
                assert sigmoid is not None
                if sigmoid.slope <= 0:  # exported without calibration
                    wrong += 1
                    continue
                z = sigmoid.slope * np.stack([nodes + distance, nodes]) + sigmoid.intercept
                losses = np.stack([-np.log(np.maximum(expit(z[0]), 1e-300)), -np.log(np.maximum(expit(-z[1]), 1e-300))])
                weights = norm.pdf(nodes) / norm.pdf(nodes).sum()
                gains.append(np.log(2) - float((losses * weights).sum() / 2))
            cells.append(f"{np.mean(gains):+.3f}, {wrong / DRAWS:.0%}")
        print(f"| {m} | {1 / comb(2 * m, m):.1%} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
