"""The files of a predictor, and the functions that read and write them.

predictor.safetensors   tensors of the networks (up to the deepest layer that is needed), encodings and heads
predictor.json          all other settings, see `schema`
MODEL_CARD.md           training data, expected performance, intended use
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ildfv.errors import InputError, check
from ildfv.inference.predictor_location import CARD, INFO, TENSORS, predictor_content
from ildfv.inference.schema import PredictorInfo
from ildfv.store.atomic import sha256, write_bytes
from ildfv.store.checksummed import CHECKSUM, checksum_of, write_checksummed
from ildfv.store.tensors import read_tensors

AGAIN = "copy the predictor again, or run `ildfv export` again"


def read_predictor(folder: Path) -> tuple[PredictorInfo, dict[str, np.ndarray], str]:
    """(info, tensors, checksum) of the predictor in a folder.

    InputError: a file is missing, the version is unknown, a checksum differs, a field of predictor.json is invalid, or
    a tensor contains NaN or infinity. Predictors that were written before predictor.json contained its own checksum are
    accepted.
    """
    content = predictor_content(folder)
    stored = content.pop(CHECKSUM, None)
    check(stored in (None, checksum_of(content)), f"{folder / INFO} must be intact, got a checksum mismatch: {AGAIN}")
    try:
        info = PredictorInfo.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{folder / INFO}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    found = sha256(folder / TENSORS)
    check(found == info.tensors_sha256, f"{folder / TENSORS} must be intact, got a checksum mismatch: {AGAIN}")
    return info, read_tensors(folder / TENSORS), sha256(folder / INFO)


def write_predictor(
    folder: Path, info: PredictorInfo, tensors: Mapping[str, np.ndarray], card: Callable[[PredictorInfo], str]
) -> PredictorInfo:
    """Writes a predictor and returns its info with the checksum of the tensors. card: returns the model card."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: np.asarray(value, order="C") for name, value in sorted(tensors.items())})
    write_bytes(folder / TENSORS, content)
    info = info.model_copy(update={"tensors_sha256": sha256(folder / TENSORS)})
    write_bytes(folder / CARD, card(info).encode())
    # Written last, because a folder without this file is incomplete.
    write_checksummed(folder / INFO, info.model_dump(mode="json"))
    return info
