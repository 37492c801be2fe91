"""Accuracy of texture recipes on generated CT-like patches (subjects left out) and on scikit-image's pictures.

    python bench/bench_textures.py --out results/textures.json

Everything, including the choice of classifier and penalty, is fitted on the training images of each split. The patches
are generated (`ildfv.texture.generated`), not clinical; the pictures are divided into a training and a test half.
For comparison: uniform local binary patterns with a linear SVM, as published for the CT Emphysema Database.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).parent))
from rows import Results

from ildfv.texture import TextureClassifier
from ildfv.texture.generated import generate

ENCODERS = {
    "derivatives": {"layers": "derivatives"},
    "patches": {"layers": "patches"},
    "intensity": {"layers": "intensity"},
    "filters": {},  # the default: all three
    "filters k=8": {"n_components": 8},
    "filters scale 1": {"scales": (1.0,)},
}
HEADS = ("regression", "auto")


def lbp(images: list[np.ndarray]) -> np.ndarray:
    """Histograms of uniform rotation-invariant patterns at two radii, and of intensity."""
    from skimage.feature import local_binary_pattern

    rows = []
    for image in images:
        found = [np.quantile(image, np.linspace(0.05, 0.95, 10)) / 100]
        for points, radius in ((8, 1), (16, 2)):
            codes = local_binary_pattern(np.round(image).astype(np.int32), points, radius, "uniform")
            found.append(np.bincount(codes.astype(int).ravel(), minlength=points + 2) / codes.size)
        rows.append(np.concatenate(found))
    return np.array(rows)


def pictures(per_side: int = 6, size: int = 61):
    """Patches of brick, grass and gravel: (images, labels, groups); the halves of the pictures are the groups."""
    from skimage import data

    images, labels, groups = [], [], []
    for name in ("brick", "grass", "gravel"):
        whole = getattr(data, name)()
        for i in range(per_side):
            for j in (0, 1, 2, 3):
                top, left = i * 80, j * 128 + 20
                images.append(whole[top : top + size, left : left + size])
                labels.append(name)
                groups.append(j // 2)
    return images, np.array(labels), np.array(groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--per-class", type=int, default=2)
    parser.add_argument("--contrast", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)  # the recipe was chosen on seed 0
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=list(ENCODERS))
    parser.add_argument("--out")
    given = parser.parse_args()
    results = Results(given.out, {"settings": vars(given)})
    sets = {
        "generated": (generate(given.subjects, given.per_class, contrast=given.contrast, seed=given.seed), given.folds),
        "pictures": (pictures(), 2),
    }
    for name, ((images, labels, groups), folds) in sets.items():
        classes, y = np.unique(labels, return_inverse=True)
        splits = list(StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(y, y, groups))
        describe = lbp(images)
        svm = make_pipeline(StandardScaler(), LinearSVC(C=0.1, max_iter=20000))
        shares = [float((svm.fit(describe[a], y[a]).predict(describe[b]) == y[b]).mean()) for a, b in splits]
        results.add(set=name, recipe="LBP + SVM", accuracy=float(np.mean(shares)), splits=shares)
        print(results.found["rows"][-1], flush=True)
        for recipe in given.encoders:
            for head in HEADS:
                start, shares = time.process_time(), []
                for a, b in splits:
                    model = TextureClassifier(
                        **{"backbone": "filters", "scales": (1.0, 0.5)} | ENCODERS[recipe], head=head
                    )
                    model.fit([images[i] for i in a], labels[a], groups[a])
                    shares.append(float(model.score([images[i] for i in b], labels[b])))
                results.add(
                    set=name, recipe=recipe, head=head, accuracy=float(np.mean(shares)), splits=shares,
                    images=len(images), classes=len(classes), cpu_s=time.process_time() - start,
                )  # fmt: skip
                print(results.found["rows"][-1], flush=True)


if __name__ == "__main__":
    main()
