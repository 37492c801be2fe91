"""PCA of the fit slices' vectors, and the projections of all slices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ildfv import distributed
from ildfv.estimators.pca import EXACT, PCA
from ildfv.pipeline.fisher import FisherVectors
from ildfv.pipeline.write_parts import Made, write_parts
from ildfv.progress import Progress
from ildfv.store.atomic import sweep
from ildfv.store.models import has_model, load_model, save_model
from ildfv.streaming.threads import in_order, split_cores

IN_MEMORY = 1 << 30  # bytes of vectors: below this limit, few slices are solved exactly in memory, in seconds


def fit(folder: Path, fisher: FisherVectors, indices: np.ndarray, settings, progress: Progress) -> PCA:
    """The PCA in `folder`, fitted on the vectors of the slices `indices` if it does not exist.

    The number of dimensions is at most the number of these slices minus one, the rank of the centred vectors.
    """
    if not distributed.from_main(has_model(folder)):
        dimensions = min(settings.dimensions, len(indices) - 1, fisher.length)
        rows = fisher.rows_of(indices, progress, f"{settings.layer}: PCA")
        if len(indices) <= EXACT and len(indices) * fisher.length * 4 <= IN_MEMORY:
            pca = PCA(dimensions, random_state=settings.seed).fit(rows.gathered())
        else:
            reduce = distributed.sum_arrays if distributed.size() > 1 else None
            pca = PCA(dimensions, random_state=settings.seed, reduce=reduce).fit(rows)
        if distributed.is_main():
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            save_model(folder, pca.to_tensors(), pca.info())
        del pca  # components of fc6 take half a gigabyte: free them before they are loaded
        distributed.barrier()
    return PCA.from_tensors(*load_model(folder))


def write(folder: Path, fisher: FisherVectors, pca: PCA, progress: Progress) -> None:
    """The projections of all slices, float32 (m, p), in parts."""

    def project(piece: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
        part, rows = piece
        return part, pca.transform(rows).astype(np.float32)

    def make(parts: Sequence[int]) -> Made:
        pieces = in_order(project, fisher.pieces(fisher.whole(parts)), workers=split_cores()[0])
        for _, group in groupby(pieces, key=itemgetter(0)):
            yield {"projection": np.concatenate([rows for _, rows in group])}

    # Pieces in parallel, one BLAS thread each: two threads on one piece spend ten times its work on synchronisation.
    with threadpool_limits(1, user_api="blas"):
        write_parts(folder, fisher.slices, make, label=f"{fisher.settings.layer}: projection", progress=progress)
