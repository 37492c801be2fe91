"""Search for the nearest slices of other patients. The query's patient may be in the study under another name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.records import Scan
from ildfv.datasets.slice_store import Slices
from ildfv.inference.lung_signatures import SAME, highest_correlations, lung_signatures
from ildfv.inference.similar import NearestRows
from ildfv.inference.stored_lung import stored_lung
from ildfv.scans.prepared_lungs import RULE, lungs, lungs_of
from ildfv.scans.volume import Volume
from ildfv.scans.windows import windowed

APART = 2.5  # minimum distance, in mm, of the slices of the query's scan that are compared with the results


@dataclass(frozen=True)
class Query:
    """A slice whose nearest slices are searched.

    image: the prepared slice, uint8 (3, 224, 224). vector: its projections, (p,). signatures: the lung
    signatures of this and other slices of its scan, which identify the anatomy, float32 (m, 4096).
    """

    image: np.ndarray
    vector: np.ndarray
    signatures: np.ndarray

    @classmethod
    def of(cls, volume: Volume, z: int, image: np.ndarray, vector: np.ndarray) -> Query:
        """The query for slice z of a scan. Signatures are computed for slices that are at least 2.5 mm apart."""
        step = max(1, int(np.ceil(APART / volume.spacing[0] - 1e-3)))
        images = np.stack([windowed(one) for one in volume.hu[z % step :: step]])
        area = np.full(len(images), volume.paper_pixel_area)
        return cls(image, vector, lung_signatures(images, lungs_of(images, area, RULE)))

    def shows(self, images: np.ndarray, lung: np.ndarray) -> np.ndarray:
        """Whether each of these prepared slices shows the anatomy of the query's scan, bool (n,)."""
        equal = np.array([np.array_equal(image, self.image) for image in images], bool)
        return equal | (highest_correlations(self.signatures, lung_signatures(images, lung)) >= SAME)


def own_slices(slices: Slices, scan: Scan, salt: str) -> np.ndarray:
    """Whether each slice is of the scan's patient, according to the hashes of patient and series, bool (N,)."""
    patients = slices.patients
    of_series = set(patients[slices.series == hashed(scan.series, salt)].tolist())
    return np.isin(patients, [hashed(scan.patient, salt), *of_series])


def search_others(
    index: NearestRows, query: Query, slices: Slices, own: np.ndarray, count: int, per_patient: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest slices of other patients: (indices, distances, whether each slice of the study is excluded).

    own: whether each slice is of the scan's patient. A scan that was converted, renamed or resampled has other hashes,
    so all slices of a patient are also excluded if one of the results shows the anatomy of the scan.
    """
    patients, excluded = slices.patients, own.copy()
    while True:
        indices, distances = index.search(
            query.vector, count, excluded=excluded, owners=patients, per_owner=per_patient
        )
        if not len(indices):
            return indices, distances, excluded
        stored = stored_lung(slices, indices)
        lung = lungs(slices, indices) if stored is None else stored
        same = indices[query.shows(slices.images(indices), lung)]
        if not len(same):
            return indices, distances, excluded
        excluded |= np.isin(patients, patients[same])
