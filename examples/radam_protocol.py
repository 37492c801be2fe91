"""Fisher vectors under RADAM's protocols on KTH-TIPS2-b, FMD or DTD, with any convolutional network of timm.

    python examples/radam_protocol.py kth-tips2 /data/KTH-TIPS2-b --backbone timm:mobilenetv2_100
    python examples/radam_protocol.py dtd /data/dtd --backbone timm:convnext_tiny --components 64

KTH-TIPS2-b has 4 splits: models are trained on one sample of each class and tested on the other three. FMD has 10
folds, with 10 repeats. DTD has the 10 published splits; models are trained on the train and val parts. The classifier
is a linear SVM, whose penalty is chosen by cross-validation on the training images. Mixtures are fitted on the training
images of each split. Prints the accuracy, and the accuracy published for RADAM-light with MobileNetV2 and a linear SVM
(Scabini et al., Pattern Recognition 143, 2023).

Images are read at their original size, while RADAM resizes them to 224×224. Neither method fine-tunes the network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from ildfv.errors import check
from ildfv.texture import TextureClassifier
from ildfv.texture.collection import Collection
from ildfv.texture.layouts import read_layout

PUBLISHED = {"kth-tips2": 84.8, "fmd": 80.5, "dtd": 69.3}  # RADAM-light, MobileNetV2, linear SVM, %


def splits(name: str, folder: Path, collection: Collection, repeats: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(training indices, test indices) of the protocol."""
    labels = np.asarray(collection.labels)
    if name == "kth-tips2":
        samples = np.asarray(collection.groups)
        for sample in sorted(set(samples)):
            yield np.flatnonzero(samples == sample), np.flatnonzero(samples != sample)
    elif name == "fmd":
        for seed in range(repeats):
            yield from StratifiedKFold(10, shuffle=True, random_state=seed).split(labels, labels)
    else:
        place = {f"{path.parent.name}/{path.name}": i for i, path in enumerate(collection.paths)}
        candidates = (folder / "labels", folder / "dtd" / "labels")
        lists = next((path for path in candidates if path.is_dir()), candidates[0])
        for number in range(1, 11):
            parts = {}
            for part in ("train", "val", "test"):
                file = lists / f"{part}{number}.txt"
                check(file.is_file(), f"{file} must exist: it is part of the archive of DTD")
                names = file.read_text(encoding="utf-8").split()
                unknown = [name for name in names if name not in place]
                check(not unknown, f"{file} must list images of {folder}, got {', '.join(unknown[:1])}")
                parts[part] = np.array([place[name] for name in names])
            yield np.concatenate([parts["train"], parts["val"]]), parts["test"]


def main(arguments: list[str] | None = None) -> dict:
    """The accuracies of all splits and their mean, which are also printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(PUBLISHED), help="texture set")
    parser.add_argument("folder", type=Path, help="folder of the unpacked set")
    parser.add_argument("--backbone", default="timm:mobilenetv2_100", help="network of timm")
    parser.add_argument("--layers", default="auto", help="layers of the network, separated by commas, or auto")
    parser.add_argument("--components", type=int, default=32, help="components of each mixture")
    parser.add_argument("--repeats", type=int, default=10, help="number of repeats of the 10 folds of FMD")
    parser.add_argument("--json", type=Path, help="JSON file to write the result to")
    given = parser.parse_args(arguments)
    collection, accuracies = read_layout(given.set, given.folder), []
    labels = np.asarray(collection.labels)
    for train, test in splits(given.set, given.folder, collection, given.repeats):
        model = TextureClassifier(given.backbone, layers=given.layers, n_components=given.components, head="svm")
        model.fit([collection.paths[i] for i in train], labels[train])
        accuracies.append(100 * float(model.score([collection.paths[i] for i in test], labels[test])))
        print(f"split {len(accuracies)}: {accuracies[-1]:.2f} %", flush=True)
    mean, sd = float(np.mean(accuracies)), float(np.std(accuracies))
    print(f"{given.set}, {given.backbone}: {mean:.1f} ± {sd:.1f} %; published, RADAM-light: {PUBLISHED[given.set]} %")
    result = {"set": given.set, "backbone": given.backbone, "mean": mean, "sd": sd, "splits": accuracies}
    if given.json:
        given.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
