"""Classification of files by name and header: DICOM, volume file, label map or other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.datasets.naming import is_label_map
from ildfv.datasets.records import Label, LabelNames, Unused, VolumeFile
from ildfv.errors import InputError, MissingPackageError, explained, linked
from ildfv.scans.archives import SUFFIX
from ildfv.scans.dicomfile import is_dicom, packing_of, start_of
from ildfv.scans.headers import Header
from ildfv.scans.images import is_image
from ildfv.scans.itksnap import is_description, label_names
from ildfv.scans.libraries import quiet
from ildfv.scans.read_header import read_header
from ildfv.scans.slicer import has_segments
from ildfv.scans.volumefiles import SUFFIXES, file_geometry, format_of, label_header
from ildfv.streaming.processes import Died, as_completed

SYSTEM_FILE = "a file of the operating system"
ARCHIVE = "an archive of this kind is not searched: unpack it into a folder"
KILLED = linked("the process that read the file was killed (out of memory?)", "out-of-memory")
ZIPPED = (
    "a zip archive inside another is never read, and a zip archive in a folder is read only with `prepare --packed`: "
    "unpack it"
)
PICTURE = (
    "an image is read only with `prepare --grey LOW,HIGH`, the HU of the smallest and largest value of the pixel type: "
    "-32768,32767 for a signed 16-bit TIFF of HU, -1024,64511 for 16 bits of HU + 1024, -1350,150 for an 8-bit export "
    "of the lung window with level -600 and width 1500"
)
GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
CHUNK = 256  # files per task; for fewer files, starting a worker process takes longer than it saves
DICOM_NAMES = (".dcm", ".dicom", ".ima", ".dcm.gz", ".dicom.gz", ".ima.gz")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".7z", ".rar")
ZIP_DOCUMENTS = (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".npz", ".jar", ".epub", ".whl")
DATA_FILES = (".img", ".img.gz")  # voxels of a volume whose header is a separate file
SYSTEM_FILES = (".ds_store", "thumbs.db", "desktop.ini")
APPLE_DOUBLE = "._"  # macOS stores attributes of the file ct.nii in a file ._ct.nii
NAMES = (*DICOM_NAMES, *SUFFIXES, *DATA_FILES)


def classified(files: Sequence[Path], base: Path, *, packed: bool, workers: int | None, advance):
    """Yields the classification of each file, in the order of `files`. Many files are classified in parallel.

    base: the searched folder. packed: whether to read DICOM files that are compressed with gzip or lack the preamble;
    if not, they are quarantined. advance: called with the number of files of each classified chunk.
    """
    chunks = [(base, packed, files[start : start + CHUNK]) for start in range(0, len(files), CHUNK)]
    if len(chunks) <= 2:
        for chunk in chunks:
            yield from _classify(chunk)
            advance(len(chunk[2]))
        return
    results: dict[int, list] = {}
    for index, result in as_completed(_classify, chunks, workers):
        paths = chunks[index][2]
        if result is Died:  # the files are read one by one to find the one that crashes the reader
            result = [
                Unused(paths[i], KILLED) if one is Died else one[0]
                for i, one in sorted(as_completed(_classify, [(base, packed, [path]) for path in paths], workers))
            ]
        results[index] = result
        advance(len(paths))
    for index in range(len(chunks)):
        yield from results[index]


def _classify(chunk: tuple[Path, bool, Sequence[Path]]) -> list[Header | VolumeFile | Label | LabelNames | Unused]:
    base, packed, paths = chunk
    with quiet():
        return [_classify_one(path, path.relative_to(base), packed) for path in paths]


def _classify_one(path: Path, inside: Path, packed: bool) -> Header | VolumeFile | Label | LabelNames | Unused:
    """The classification of a file. inside: the path of the file relative to the searched folder."""
    name = path.name.lower()
    try:
        if not path.is_file():
            broken_link = path.is_symlink() and not path.exists() and name.endswith(NAMES)
            broken_link = broken_link and not is_system_file(path.name, b"")
            return Unused(
                path, "must exist, got a broken link" if broken_link else "not a regular file", quarantined=broken_link
            )
        start = start_of(path)
        if is_system_file(path.name, start):
            return Unused(path, SYSTEM_FILE, quarantined=False)
        if is_dicom(start) and not packed and (how := packing_of(path, start)):
            return Unused(path, f"DICOM {how} is read only with `prepare --packed`")
        if is_dicom(start) or name.endswith(DICOM_NAMES):
            return read_header(path)
        if kind := format_of(path, start):
            return _volume_file(path, inside, kind)
        if is_description(start):
            return _label_names(path)
    except (InputError, MissingPackageError) as error:
        return _unreadable(path, inside, explained(error))
    except OSError as error:
        return _unreadable(path, inside, f"must be readable, got {error.strerror or error}")
    if name.endswith(ARCHIVES):
        return Unused(path, ARCHIVE)
    if name.endswith(SUFFIX) or (start.startswith(ZIP) and not name.endswith(ZIP_DOCUMENTS)):
        return Unused(path, ZIPPED)
    if name.endswith(DATA_FILES):
        return Unused(path, "must have a readable .hdr header file in the same folder, got none")
    if is_image(path):
        return Unused(path, PICTURE, quarantined=False)
    return Unused(path, "not DICOM, NIfTI, NRRD or MetaImage", quarantined=False)


def _volume_file(path: Path, inside: Path, kind: str) -> VolumeFile | Label:
    """The file as a label map if its path or header marks it as one, otherwise as a scan."""
    if not is_label_map(inside) and not (kind == "nrrd" and has_segments(path)):
        return VolumeFile(path, kind, file_geometry(path, kind))
    geometry, segments = label_header(path, kind)
    return Label(path, kind, geometry, tuple(segment.name for segment in segments))


def _label_names(path: Path) -> LabelNames:
    try:
        return LabelNames(path, tuple(label_names(path).items()))
    except InputError as error:
        return LabelNames(path, fault=explained(error))


def is_system_file(name: str, start: bytes) -> bool:
    """Whether the name is one that the operating system uses, and the content is not that of a scan."""
    if name.startswith(APPLE_DOUBLE):
        return start[128:132] != b"DICM" and not start.startswith(GZIP) and format_of(Path(), start) is None
    return name.lower() in SYSTEM_FILES


def _unreadable(path: Path, inside: Path, reason: str) -> Label | Unused:
    """The entry of an unreadable file. For a label map it is a `Label`, so that its scan is not used without labels."""
    if is_system_file(path.name, b""):
        return Unused(path, SYSTEM_FILE, quarantined=False)
    kind = format_of(path, b"") if is_label_map(inside) else None
    return Unused(path, reason) if kind is None else Label(path, kind, fault=reason)
