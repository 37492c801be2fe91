# %% [markdown]
# # A contribution map
#
# The score of a linear classifier on an improved Fisher vector is a sum over the locations of the image. Each location
# has an exact contribution to the score. Here a classifier learns brick and grass from scikit-image's pictures, and its
# map shows which parts of a picture with both textures are evidence for brick.
#
#     python examples/contribution_map.py
#
# Writes contribution-map.png, which shows the picture and, next to it, the map: orange for brick, blue against it.

# %%
from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from ildfv.texture import TextureClassifier
from ildfv.texture.contributions import contribution_maps
from ildfv.texture.images import as_picture

SIDE, COMPONENTS = 48, 8


# %%
def training_patches(n: int = 10) -> tuple[list[np.ndarray], list[str]]:
    """n patches (SIDE, SIDE) of the upper half of each picture, with their classes."""
    rng, images, classes = np.random.default_rng(0), [], []
    for name, pixels in (("brick", data.brick()), ("grass", data.grass())):
        for _ in range(n):
            top, left = rng.integers(0, 256 - SIDE), rng.integers(0, 512 - SIDE)
            images.append(pixels[top : top + SIDE, left : left + SIDE])
            classes.append(name)
    return images, classes


def mixed_picture(side: int = 128) -> np.ndarray:
    """Brick on the left half, grass on the right half, both from the lower half of the pictures; uint8 (side, side)."""
    picture = data.brick()[300 : 300 + side, 100 : 100 + side].copy()
    picture[:, side // 2 :] = data.grass()[300 : 300 + side, 100 + side // 2 : 100 + side]
    return picture


def coloured(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The picture with the map over it, uint8 (h, w, 3): orange where values are positive, blue where negative."""
    strength = np.clip(np.abs(values) / np.quantile(np.abs(values), 0.99), 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, (255, 140, 0), (40, 110, 255))
    grey = np.repeat(picture[..., None], 3, axis=2)
    return ((1 - 0.7 * strength) * grey + 0.7 * strength * colour).astype(np.uint8)


# %% [markdown]
# The map sums to the score minus the offset, which is the score of a zero vector.


# %%
def main(file: Path = Path("contribution-map.png")) -> dict[str, float]:
    """The score of brick without the offset, the sum of its map, and the sum over each half of the picture."""
    model = TextureClassifier("filters", n_components=COMPONENTS, scales=(1.0,)).fit(*training_patches())
    picture = mixed_picture()
    brick = list(model.classes_).index("brick")
    values = contribution_maps(model, as_picture(picture, "mixed"))[brick]  # (h, w)
    offset = model.head_.scores(np.zeros((1, model.head_.functional().shape[1])))[0, brick]
    score = model.scores([picture])[0, brick] - offset
    assert np.isclose(values.sum(), score, rtol=1e-4, atol=1e-6), (values.sum(), score)
    half = picture.shape[1] // 2
    sums = {
        "score": float(score),
        "sum": float(values.sum()),
        "left": float(values[:, :half].sum()),
        "right": float(values[:, half:].sum()),
    }
    Image.fromarray(np.hstack([np.repeat(picture[..., None], 3, axis=2), coloured(picture, values)])).save(file)
    print(f"score of brick {score:+.3f} = {sums['left']:+.3f} (brick half) {sums['right']:+.3f} (grass half)")
    print(f"written to {file}")
    return sums


# %%
if __name__ == "__main__":
    main()
