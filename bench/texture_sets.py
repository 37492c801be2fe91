"""Generated sets with the sizes and the variation of two public sets, for the choice of a texture recipe.

`ct_patches`: 168 patches of 61×61 in HU of 39 subjects, three classes (normal, centrilobular and paraseptal emphysema),
as in the CT Emphysema Database. Normal patches are of subjects without emphysema. Inspiration level, noise and kernel
vary between subjects, and lesions from few and small to many.

`surfaces`: ten relief textures, 81 images of 200×200 each (nine scales over two octaves, three poses, three directions
of light), as in KTH-TIPS. The classes are five pairs that differ only in size, depth or density of their elements. All
images of a class show the same piece of surface, and the exposure varies.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform, distance_transform_edt, gaussian_filter

CT_SIDE = 61  # pixels of 0.78 mm
CT_COUNTS = {"normal": (9, 59), "centrilobular": (30, 50), "paraseptal": (30, 59)}  # subjects, patches
SURFACE_SIDE, FINE = 200, 820  # pixels of an image, and of the surface at the finest scale
SCALES = 2.0 ** np.linspace(-1, 1, 9)
POSES = (-22.5, 0.0, 22.5)  # degrees of rotation around the vertical axis
LIGHTS = ((0.0, 0.0), (45.0, 90.0), (45.0, 0.0))  # degrees: from the camera's axis, and of direction


def ct_patches(seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """(images, classes, subjects); equal seeds give equal bits."""
    rng = np.random.default_rng([seed, 0])
    healthy, ill = (range(0, 9), range(9, 39))
    subjects = [_subject(np.random.default_rng([seed, 1, i]), ill=i in ill) for i in range(39)]
    images, labels, groups = [], [], []
    for name, (_, number) in CT_COUNTS.items():
        pool = list(healthy if name == "normal" else ill)
        each = [*pool, *rng.choice(pool, number)][:number] if len(pool) < number else pool
        for i in each:
            images.append(_patch(name, subjects[i], rng))
            labels.append(name)
            groups.append(f"subject-{i:02}")
    return images, np.array(labels), np.array(groups)


def _subject(rng: np.random.Generator, *, ill: bool) -> dict[str, float]:
    return {
        "level": rng.normal(-872 if ill else -858, 22),  # HU of parenchyma, which depends on inspiration
        "noise": rng.uniform(12, 30),
        "grain": rng.uniform(0.55, 0.95),  # of the reconstruction kernel, pixels
        "severity": rng.uniform(0.25, 1.0),
    }


def _patch(name: str, subject: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    n, fine = CT_SIDE, gaussian_filter
    y, x = np.mgrid[:n, :n] - n / 2
    hu = subject["level"] + 14 * _unit(fine(rng.standard_normal((n, n)), 2.2, mode="wrap"))
    slope = rng.normal(0, 0.35, 2)
    hu += slope[0] * y + slope[1] * x
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-2, 26)
    curved = np.cos(angle) * x + np.sin(angle) * y + (np.sin(angle) * x - np.cos(angle) * y) ** 2 / 400
    pleura = rng.random() < {"normal": 0.25, "centrilobular": 0.25, "paraseptal": 0.75}[name]
    depth = offset - curved  # pixels below the pleura
    if name != "normal":
        _holes(hu, rng, subject["severity"] if name == "centrilobular" else rng.uniform(-0.36, 0.1))
    if name == "paraseptal":
        _cysts(hu, depth, subject["severity"], rng)
    for _ in range(rng.poisson(4)):  # vessels: tubes and dots
        _vessel(hu, x, y, rng)
    if pleura:
        wall = 1 / (1 + np.exp(depth / 0.7))
        hu = hu * (1 - wall) + wall * rng.normal(20, 25)
    hu = fine(hu, subject["grain"] * 0.8, mode="nearest")
    hu += subject["noise"] * _unit(fine(rng.standard_normal((n, n)), subject["grain"], mode="wrap"))
    return np.round(hu).clip(-1024).astype(np.float32)


def _holes(hu: np.ndarray, rng: np.random.Generator, severity: float) -> None:
    """Round lesions without walls."""
    n = len(hu)
    y, x = np.mgrid[:n, :n]
    for _ in range(rng.poisson(max(8 + 22 * severity, 0))):
        cy, cx, r = *rng.uniform(0, n, 2), np.exp(rng.normal(np.log(2.6), 0.35))
        inside = 1 / (1 + np.exp((np.hypot(y - cy, x - cx) - r) / 0.8))
        hu += inside * np.minimum(rng.normal(-960, 15) - hu, 0) * rng.uniform(0.6, 1)


def _cysts(hu: np.ndarray, depth: np.ndarray, severity: float, rng: np.random.Generator) -> None:
    """Lesions with thin walls in a row below the pleura."""
    n = len(hu)
    y, x = np.mgrid[:n, :n]
    near = np.argwhere((depth > 2) & (depth < 11))
    if not len(near):
        near = np.argwhere(depth > -np.inf)
    for _ in range(2 + rng.poisson(3 + 6 * severity)):
        cy, cx = near[rng.integers(len(near))]
        r = np.exp(rng.normal(np.log(4.5), 0.3))
        distance = np.hypot((y - cy) * rng.uniform(0.7, 1.3), (x - cx) * rng.uniform(0.7, 1.3)) - r
        inside = 1 / (1 + np.exp(distance / 0.5))
        hu += inside * np.minimum(rng.normal(-970, 15) - hu, 0) * rng.uniform(0.6, 1)
        hu += 110 * rng.uniform(0.3, 1) * np.exp(-((distance - 0.8) ** 2))


def _vessel(hu: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    angle, r = rng.uniform(0, np.pi), np.exp(rng.normal(np.log(1.1), 0.4))
    cx, cy, long = *rng.uniform(-30, 30, 2), rng.exponential(4)
    along = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
    across = -np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
    distance = np.hypot(across, np.maximum(np.abs(along) - long, 0))
    hu += np.maximum(rng.uniform(-350, 0) - hu, 0) / (1 + np.exp((distance - r) / 0.5)) * rng.uniform(0.3, 1)


def surfaces(seed: int, per_class: int = 81) -> tuple[list[np.ndarray], np.ndarray, None]:
    """(images uint8 (200, 200, 3), classes, None). per_class < 81 draws so many of the 81 views of each class."""
    images, labels = [], []
    for c in range(10):
        rng = np.random.default_rng([seed, 2, c])
        height, albedo = _surface(c, np.random.default_rng([seed, 3, c // 2]), rng)
        colour = np.random.default_rng([seed, 4, c // 2]).uniform(0.75, 1.0, 3)
        kept = np.sort(rng.permutation(81)[:per_class])
        for light in range(3):
            shaded = _shaded(height, albedo, *LIGHTS[light])
            for view in kept[kept % 3 == light]:
                images.append(_view(shaded, SCALES[view // 9], POSES[view // 3 % 3], colour, rng))
                labels.append(f"surface-{c}")
    return images, np.array(labels), None


def _surface(c: int, shared: np.random.Generator, own: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Height and albedo (FINE, FINE). shared: parameters of a pair of classes; own: the piece of surface."""
    n, kind, second = FINE, c // 2, c % 2
    size = shared.uniform(0.9, 1.2) * (1.3 if second else 1.0)
    white = own.standard_normal((n, n))
    if kind == 0:  # sandpaper: grains
        height = 2.5 * _unit(gaussian_filter(white, 2.2 * size, mode="wrap"))
    elif kind == 1:  # foil: creases
        field = _unit(gaussian_filter(white, 9.0 * size, mode="wrap"))
        height = -14 * np.abs(field) + 2 * _unit(gaussian_filter(own.standard_normal((n, n)), 3, mode="wrap"))
    elif kind == 2:  # weave: two directions of yarn, with jitter
        period = 16.0 * size
        y, x = np.mgrid[:n, :n] + 2.5 * np.stack(
            [_unit(gaussian_filter(own.standard_normal((n, n)), 12, mode="wrap")) for _ in range(2)]
        )
        over = np.sin(np.pi * x / period) * np.sin(np.pi * y / period) > 0
        height = 4 * np.where(over, np.abs(np.sin(np.pi * x / period)), np.abs(np.sin(np.pi * y / period)))
    elif kind == 3:  # pits of different density
        dots = np.ones((n, n), bool)
        number = int(n * n / (420 if second else 620))
        dots[own.integers(0, n, number), own.integers(0, n, number)] = False
        height = 6 * np.minimum(distance_transform_edt(dots) / 7.0, 1.0) ** 1.5
    else:  # fibres, oriented more or less
        height = 3.0 * _unit(gaussian_filter(white, (2.0, 7.0 if second else 12.0), mode="wrap"))
    height = height + 0.35 * _unit(gaussian_filter(own.standard_normal((n, n)), 1.0, mode="wrap"))
    albedo = 0.7 + 0.06 * _unit(gaussian_filter(own.standard_normal((n, n)), 4.0, mode="wrap"))
    return height, albedo


def _shaded(height: np.ndarray, albedo: np.ndarray, tilt: float, direction: float) -> np.ndarray:
    """Lambertian shading with some ambient light."""
    dy, dx = np.gradient(height)
    tilt, direction = np.deg2rad(tilt), np.deg2rad(direction)
    light = np.sin(tilt) * np.cos(direction), np.sin(tilt) * np.sin(direction), np.cos(tilt)
    cosine = (-dx * light[0] - dy * light[1] + light[2]) / np.sqrt(1 + dx**2 + dy**2)
    return albedo * (0.25 + 0.75 * np.maximum(cosine, 0))


def _view(shaded: np.ndarray, scale: float, pose: float, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    step = 2 / scale  # pixels of the surface per pixel of the image
    roll, n = np.deg2rad(rng.normal(0, 3)), SURFACE_SIDE
    turned = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    matrix = turned @ np.diag([step, step / np.cos(np.deg2rad(pose))])
    centre = FINE / 2 + rng.uniform(-0.5, 0.5, 2) * max(FINE - 1.1 * step * n, 40)
    smooth = gaussian_filter(shaded, 0.45 * step, mode="wrap")
    grey = affine_transform(
        smooth, matrix, centre - matrix @ (np.full(2, n / 2)), output_shape=(n, n), order=1, mode="grid-wrap"
    )
    gain = np.exp(rng.normal(0, 0.25)) * 165 / 0.6
    image = grey[..., None] * colour * gain + rng.normal(0, 2.5, (n, n, 3))
    return image.clip(0, 255).astype(np.uint8)


def _unit(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
