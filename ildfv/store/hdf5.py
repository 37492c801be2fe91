"""Safe opening of the HDF5 files of parts: no other file is read, and all arrays are of the expected kind.

HDF5 can read the content of a dataset from any other file of the machine (external storage, virtual datasets), follow
links to other files, and load filters as plugins. A part uses none of these features: it is a flat list of plain arrays
with a few plain attributes. Everything else is refused when the file is opened, before any value is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import h5py

from ildfv.errors import InputError, check
from ildfv.parsing import check_regular

OBJECTS = 64  # largest number of arrays, and of attributes, in a part; a part of slices has fewer than ten of each
ATTRIBUTE_SIZE = 4096  # largest number of values in an attribute; an affine has 16
FILTERS = frozenset({h5py.h5z.FILTER_FLETCHER32})  # the only filter that `write_part` uses
NUMBERS, TEXTS = "biuf", "S"


@dataclass(frozen=True)
class Schema:
    """The required content of a part.

    arrays: by name, the allowed dtype kinds (letters of `numpy.dtype.kind`, such as "iu") and the shape of one item.
    attributes: by name, the allowed dtype kinds; each attribute is a single value. optional: attributes that may be
    missing.
    """

    arrays: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)


def open_hdf5(file: Path | IO[bytes], name: object, *, schema: Schema | None = None, count: int | None = None):
    """The part, an `h5py.File` open for reading.

    Parameters
    ----------
    file
        Path of a local file, or a binary file object of a remote one.
    name
        Name of the part in error messages.
    schema
        Required arrays and attributes; None: any plain arrays and attributes.
    count
        Number of items: the length of every array; None: any.

    Raises
    ------
    InputError
        The file is not a regular file, contains objects other than plain arrays and attributes, or does not match
        `schema` and `count`.
    OSError, KeyError, RuntimeError
        Errors of h5py for a truncated or damaged file.
    """
    if isinstance(file, Path):
        check_regular(file)
    # A chunk cache would be useless, because every chunk is read only once.
    opened = h5py.File(file, "r", locking=False, rdcc_nbytes=0)
    try:
        _check_schema(opened, _checked_arrays(opened, f"{name}"), f"{name}", schema or Schema(), count)
    except BaseException:
        opened.close()
        raise
    return opened


def _checked_arrays(file: h5py.File, name: str) -> dict[str, h5py.Dataset]:
    """The arrays by name. Raises `InputError` unless the file is a flat list of plain arrays.

    Links are followed only if they are hard.
    """
    check(len(file) <= OBJECTS, f"{name} must contain at most {OBJECTS} arrays, got {len(file)}")
    _check_attributes(file, name)
    arrays = {}
    for key in file:
        link = file.get(key, getlink=True)
        what = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}.get(type(link), "a link")
        check(isinstance(link, h5py.HardLink), f"{name} must contain its arrays directly, got {what} {key!r}")
        dataset = file.get(key)
        check(isinstance(dataset, h5py.Dataset), f"{name} must contain arrays only, got {_kind(dataset)} {key!r}")
        _check_storage(dataset, f"{name}: array {key!r}")
        _check_attributes(dataset, f"{name}: array {key!r}")
        arrays[key] = dataset
    return arrays


def _check_storage(dataset: h5py.Dataset, name: str) -> None:
    """Raises `InputError` unless the values are plain numbers in this file, without filters other than `FILTERS`."""
    created = dataset.id.get_create_plist()
    layout = created.get_layout()
    check(layout != h5py.h5d.VIRTUAL, f"{name} must be stored in the file itself, got a virtual dataset")
    check(created.get_external_count() == 0, f"{name} must be stored in the file itself, got external storage")
    filters = {created.get_filter(number)[0] for number in range(created.get_nfilters())}
    unknown = sorted(filters - FILTERS)
    check(not unknown, f"{name} must be stored without filters except Fletcher32, got filters {unknown}")
    _check_type(dataset, name, NUMBERS)


def _check_attributes(owner: h5py.HLObject, name: str) -> None:
    """Raises `InputError` unless there are at most `OBJECTS` attributes, all numbers or strings of fixed length."""
    attributes = owner.attrs
    check(len(attributes) <= OBJECTS, f"{name} must have at most {OBJECTS} attributes, got {len(attributes)}")
    for key in attributes:
        attribute = attributes.get_id(key)
        _check_type(attribute, f"{name}: attribute {key!r}", NUMBERS + TEXTS)
        size = attribute.get_space().get_simple_extent_npoints()
        check(
            size <= ATTRIBUTE_SIZE, f"{name}: attribute {key!r} must have at most {ATTRIBUTE_SIZE} values, got {size}"
        )


def _check_type(item, name: str, kinds: str) -> None:
    """Raises `InputError` if the values are not of one of these kinds of dtype."""
    what = "numbers or strings" if TEXTS in kinds else "numbers"
    try:
        dtype = item.dtype
    except (TypeError, ValueError) as error:  # a type that NumPy lacks
        raise InputError(f"{name} must contain {what}, got a type that NumPy lacks: {error}") from error
    plain = dtype.kind in kinds and dtype.subdtype is None
    check(plain, f"{name} must contain {what}, got {_type_name(dtype)}")


def _check_schema(
    file: h5py.File, arrays: Mapping[str, h5py.Dataset], name: str, schema: Schema, count: int | None
) -> None:
    """Raises `InputError` if an array, an attribute or the number of items does not match the schema and `count`."""
    for key, dataset in arrays.items():
        check(dataset.ndim >= 1, f"{name}: array {key!r} must have an axis for its items, got a single value")
        length = dataset.shape[0]
        check(count is None or length == count, f"{name}: array {key!r} must contain {count} items, got {length}")
    for key, (kinds, shape) in schema.arrays.items():
        check(key in arrays, f"{name} must contain an array {key!r}, got none")
        dtype, item_shape = arrays[key].dtype, arrays[key].shape[1:]
        check(item_shape == shape, f"{name}: items of {key!r} must have shape {shape}, got {item_shape}")
        check(dtype.kind in kinds, f"{name}: array {key!r} must be of dtype kind {kinds}, got {dtype}")
    attributes = file.attrs  # h5py makes a new object whenever this property is read
    for key in schema.attributes:
        check(key in attributes, f"{name} must have an attribute {key!r}, got none")
    for key, kinds in {**schema.attributes, **schema.optional}.items():
        if key not in attributes:
            continue
        attribute = attributes.get_id(key)
        check(attribute.shape == (), f"{name}: attribute {key!r} must be one value, got shape {attribute.shape}")
        check(
            attribute.dtype.kind in kinds,
            f"{name}: attribute {key!r} must be of dtype kind {kinds}, got {attribute.dtype}",
        )


def _kind(found: object) -> str:
    """The kind of an object, for messages."""
    if isinstance(found, h5py.Group):
        return "a group"
    return "a named type" if isinstance(found, h5py.Datatype) else "an unknown object"


def _type_name(dtype) -> str:
    """The name of a type, for messages."""
    if dtype.kind == "O":
        return "references or strings of variable length"
    return "a compound type" if dtype.kind == "V" else str(dtype)
