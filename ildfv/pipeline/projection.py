"""The PCA of the vectors of the fit slices, and the projections of all slices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ildfv import distributed
from ildfv.estimators.pca_model import EXACT, PCAModel
from ildfv.pipeline.fisher import FisherVectors
from ildfv.pipeline.write_parts import Made, write_parts
from ildfv.progress import Progress
from ildfv.store.atomic import sweep
from ildfv.store.models import has_model, load_model, save_model
from ildfv.streaming.threads import in_order, split_cores

IN_MEMORY = 1 << 30  # maximum size of the vectors, in bytes, for an exact PCA in memory


def fit(folder: Path, fisher: FisherVectors, indices: np.ndarray, settings, progress: Progress) -> PCAModel:
    """The PCA in `folder`. If it does not exist, it is fitted on the vectors of the slices `indices`.

    The number of dimensions is at most the number of these slices minus one, which is the maximum rank of their centred
    vectors, and at most the length of the vectors.
    """
    if not distributed.from_main(has_model(folder)):
        dimensions = min(settings.dimensions, len(indices) - 1, fisher.length)
        rows = fisher.rows_of(indices, progress, f"{settings.layer}: PCA")
        if len(indices) <= EXACT and len(indices) * fisher.length * 4 <= IN_MEMORY:
            pca = PCAModel(dimensions, random_state=settings.seed).fit(rows.gathered())
        else:
            reduce = distributed.sum_arrays if distributed.size() > 1 else None
            pca = PCAModel(dimensions, random_state=settings.seed, reduce=reduce).fit(rows)
        if distributed.is_main():
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            save_model(folder, pca.to_tensors(), pca.info())
        del pca  # the components of fc6 take half a gigabyte, so they are freed before they are loaded again
        distributed.barrier()
    return PCAModel.from_tensors(*load_model(folder))


def write(folder: Path, fisher: FisherVectors, pca: PCAModel, progress: Progress) -> None:
    """Writes the projections of all slices, float32 (m, p), in parts."""

    def project(piece: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
        part, rows = piece
        return part, pca.transform(rows).astype(np.float32)

    def make(parts: Sequence[int]) -> Made:
        pieces = in_order(project, fisher.pieces(fisher.whole(parts)), workers=split_cores()[0])
        for _, group in groupby(pieces, key=itemgetter(0)):
            yield {"projection": np.concatenate([rows for _, rows in group])}

    # Pieces are projected in parallel, with one BLAS thread each. With two BLAS threads, synchronisation would take ten
    # times as long as the computation.
    with threadpool_limits(1, user_api="blas"):
        write_parts(folder, fisher.slices, make, label=f"{fisher.settings.layer}: projection", progress=progress)
