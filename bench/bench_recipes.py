"""Nested comparison of texture recipes: layers, components of the mixtures, principal components and kind of head.

    python bench/bench_recipes.py vectors --set ct surfaces --seed 1 --components 32 --out results/recipes.json

Sets: `ct` and `surfaces` of texture_sets.py, and `pictures`, patches of scikit-image's brick, grass and gravel. In each
outer split, the encoder is fitted on the training images without labels. Each recipe gets an inner accuracy by
cross-validation on the training images, by subject if there are subjects, and an outer accuracy on the test images. The
recipe with the highest inner accuracy is the nested choice of this split; the inner accuracy is used for nothing else.
Vectors are stored in the folder `vectors` and found there by later runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))
from bench_textures import pictures
from rows import Results
from texture_sets import ct_patches, surfaces

from ildfv.estimators.pca import PCA
from ildfv.texture import TextureEncoder
from ildfv.texture.heads import PENALTIES, held_out_accuracy, inner_splits, solved

FILTERS = ("derivatives", "patches", "intensity")
NETWORK = ("_blocks.2", "_blocks.4", "_blocks.10")
DEEPEST = "_conv_head.static_padding"  # the input of the last convolution: 7×7 locations for an image of 224×224
LAYERS = {
    "filters": FILTERS,
    "network": NETWORK,
    "network with deepest": (*NETWORK, DEEPEST),
    "both": FILTERS + NETWORK,
    "both with deepest": (*FILTERS, *NETWORK, DEEPEST),
    "filters without intensity": FILTERS[:2],
    "both without intensity": FILTERS[:2] + NETWORK,
}
RECIPE = ("filters", "network", "both", "filters without intensity", "both without intensity")  # compared by "auto"
WIDEST = 512  # principal components
KINDS = ("regression", "logistic", "svm", "lda")


def splits_of(name: str, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> list:
    """(training indices, test indices): 6 folds of subjects, 4 columns of pictures, or 40 images per class."""
    if groups is not None:
        folds = 6 if name == "ct" else 4
        return list(StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(labels, labels, groups))
    rng, found = np.random.default_rng(seed), []
    for _ in range(3):
        orders = [rng.permutation(np.flatnonzero(labels == one)) for one in np.unique(labels)]
        found.append(tuple(np.sort(np.concatenate([o[part] for o in orders])) for part in (slice(40), slice(40, None))))
    return found


def encoded(file: Path, images: list, train: np.ndarray, k: int, memory: str | None) -> dict:
    """Vectors of all images by an encoder fitted on the training images, and the columns of each layer."""
    if not file.is_file():
        layers = LAYERS["both with deepest"]
        encoder = TextureEncoder("filters+efficientnet-lite0", layers=layers, n_components=k, memory=memory)
        vectors = encoder.fit([images[i] for i in train]).transform(images)
        columns = [(encoder.columns(layer).start, encoder.columns(layer).stop) for layer in layers]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, v=vectors, layers=layers, cols=columns)
    with np.load(file) as stored:
        return {"v": stored["v"], "cols": dict(zip(stored["layers"].tolist(), stored["cols"], strict=True))}


def candidates(
    found: dict, layers: tuple, y: np.ndarray, train: np.ndarray, test: np.ndarray, inner: list, size: int, kinds: list
):
    """(kind, inner accuracy, outer accuracy) of each kind of head, with its best penalty, on `size` components."""
    vectors = np.concatenate([found["v"][:, slice(*found["cols"][layer])] for layer in layers], axis=1)
    pca = PCA(min(size, len(train) - 1)).fit(vectors[train])
    x, new = (pca.transform(vectors[rows]).astype(np.float64) for rows in (train, test))
    scale = np.sqrt((x**2).sum(axis=1).mean())
    x, new = x / scale, new / scale
    for kind in [kind for kind in kinds if kind != "lda"]:
        shares = [held_out_accuracy(x, y[train], inner, kind, penalty) for penalty in PENALTIES[kind]]
        coef, intercept = solved(x, y[train], kind, PENALTIES[kind][int(np.argmax(shares))])
        yield kind, max(shares), float(((new @ coef.T + intercept).argmax(axis=1) == y[test]).mean())
    if "lda" not in kinds:
        return
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    right = sum((lda.fit(x[a], y[train][a]).predict(x[b]) == y[train][b]).sum() for a, b in inner)
    share = float(right / sum(len(b) for _, b in inner))
    yield "lda", share, float((lda.fit(x, y[train]).predict(new) == y[test]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="folder")
    parser.add_argument("--set", nargs="+", default=["ct", "surfaces", "pictures"])
    parser.add_argument("--seed", type=int, default=1)  # the recipe was chosen on seed 0
    parser.add_argument("--components", type=int, nargs="+", default=[32])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, WIDEST], help="numbers of principal components")
    parser.add_argument("--heads", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--splits", type=int, help="number of outer splits")
    parser.add_argument("--per-class", type=int, default=60, help="images of each surface")
    parser.add_argument("--memory", help="folder of the maps, which takes 3 MB per surface image")
    parser.add_argument("--out")
    given = parser.parse_args()
    results = Results(given.out, {"settings": {k: v for k, v in vars(given).items() if k not in ("vectors", "memory")}})
    for name in given.set:
        made = {
            "ct": ct_patches,
            "surfaces": lambda seed: surfaces(seed, given.per_class),
            "pictures": lambda seed: (*pictures()[:2], np.tile(np.arange(4), 18)),  # the column of a patch is its group
        }
        images, labels, groups = made[name](given.seed)
        y = np.unique(labels, return_inverse=True)[1]
        outer, nested = defaultdict(list), defaultdict(list)
        for split, (train, test) in enumerate(splits_of(name, labels, groups, given.seed)[: given.splits]):
            own = None if groups is None else np.asarray(groups)[train]
            inner = inner_splits(y[train], own, 0)
            tried = {}
            for k in given.components:
                found = encoded(given.vectors / f"{name}-{given.seed}-k{k}-{split}.npz", images, train, k, given.memory)
                for (label, layers), size in itertools.product(LAYERS.items(), given.sizes):
                    with threadpool_limits(1):
                        for kind, share, accuracy in candidates(
                            found, layers, y, train, test, inner, size, given.heads
                        ):
                            tried[k, label, size, kind] = share, accuracy
            for one, (_, accuracy) in tried.items():
                outer[one].append(accuracy)
            for rule, allowed in rules().items():
                some = {one: value for one, value in tried.items() if allowed(*one)}
                chosen = max(some, key=lambda one: some[one][0])  # the first if accuracies are equal
                nested[rule].append((some[chosen][1], list(chosen)))
        for one, shares in outer.items():
            labelled = dict(zip(("components", "layers", "size", "head"), one, strict=True))
            results.add(set=name, **labelled, accuracy=float(np.mean(shares)), splits=shares)
        for rule, chosen in nested.items():
            shares = [share for share, _ in chosen]
            results.add(
                set=name, nested=rule, accuracy=float(np.mean(shares)), splits=shares, chosen=[c for _, c in chosen]
            )
            print(f"{name:9} {rule:45} {100 * np.mean(shares):5.1f}", flush=True)


def rules() -> dict:
    """Sets of recipes (k, layers, size, kind), from which the nested choice of each split is made."""
    return {
        "regression, layers": lambda k, of, size, kind: k == 32 and of in RECIPE and (size, kind) == (WIDEST, KINDS[0]),
        "regression, layers with deepest": lambda k, of, size, kind: (
            k == 32 and of not in ("both", "network", "both without intensity") and (size, kind) == (WIDEST, KINDS[0])
        ),
        "kind of head, layers": lambda k, of, size, kind: k == 32 and of in RECIPE and size == WIDEST,
        "size, layers": lambda k, of, size, kind: k == 32 and of in RECIPE and kind == KINDS[0],
        "components, layers": lambda k, of, size, kind: of in RECIPE and (size, kind) == (WIDEST, KINDS[0]),
        "everything": lambda k, of, size, kind: True,
    }


if __name__ == "__main__":
    main()
