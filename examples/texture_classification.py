# %% [markdown]
# # Texture classification with scikit-image's pictures
#
# Brick, grass and gravel are part of the scikit-image package, so nothing is downloaded. Patches of the left half of
# each picture are used for training, and patches of the right half for testing.
#
#     python examples/texture_classification.py
#
# Prints the accuracy and the confusion matrix of Fisher vectors, and the accuracy of a simple baseline. The patches are
# photographs; the numbers say nothing about CT.

# %%
from __future__ import annotations

import numpy as np
from skimage import data
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ildfv.texture import TextureClassifier

SIDE, PATCHES, COMPONENTS = 48, 12, 8  # pixels, patches of each class and half, components of each mixture
PICTURES = {"brick": data.brick, "grass": data.grass, "gravel": data.gravel}


# %%
def patches(half: int, n: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """n patches of each picture (SIDE, SIDE), uint8, with their classes; half: 0 left, 1 right."""
    rng, images, classes = np.random.default_rng(seed), [], []
    for name, picture in PICTURES.items():
        pixels = picture()
        for _ in range(n):
            top = rng.integers(0, pixels.shape[0] - SIDE)
            left = rng.integers(0, pixels.shape[1] // 2 - SIDE) + half * pixels.shape[1] // 2
            images.append(pixels[top : top + SIDE, left : left + SIDE])
            classes.append(name)
    return images, classes


def moments_of_grey(images: list[np.ndarray]) -> np.ndarray:
    """The baseline's features: mean and standard deviation of the grey values, (b, 2)."""
    return np.array([(image.mean(), image.std()) for image in images])


# %%
def main(n: int = PATCHES) -> dict[str, float]:
    """Accuracies on the test patches."""
    train, classes = patches(0, n, seed=0)
    test, truth = patches(1, n, seed=1)
    model = TextureClassifier("filters", n_components=COMPONENTS).fit(train, classes)
    predicted = model.predict(test)
    baseline = make_pipeline(StandardScaler(), LogisticRegression()).fit(moments_of_grey(train), classes)
    accuracies = {
        "Fisher vectors": float(np.mean(predicted == truth)),
        "mean and standard deviation": baseline.score(moments_of_grey(test), truth),
    }
    for name, accuracy in accuracies.items():
        print(f"{name}: {100 * accuracy:.1f} % of {len(truth)} patches")
    print("Confusion (rows: true class)", *PICTURES)
    print(confusion_matrix(truth, predicted, labels=list(PICTURES)))
    return accuracies


# %%
if __name__ == "__main__":
    main()
