"""Folders of grey images. Each image is read as a scan of one slice."""

from __future__ import annotations

from pathlib import Path

from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.datasets.search import files_below
from ildfv.errors import InputError, explained
from ildfv.progress import SILENT, Progress
from ildfv.scans.grey import Grey
from ildfv.scans.images import bits_of, image_geometry, is_image

IMAGE = "image"  # `Scan.kind` of an image
NO_IMAGE = "not PNG, JPEG or TIFF: with --grey only images are read"


def image_scans(root: Path, grey: Grey, *, exclude: Path | None = None, progress: Progress = SILENT) -> Discovery:
    """The images in a folder and its subfolders, each as a scan of one slice.

    The patient of an image is the first folder on its path below `root`, or the file name for an image directly in
    `root`. exclude: a folder that is not searched, for example a folder of lung masks. Raises `InputError` if `root`
    does not exist or contains no file.
    """
    found = Discovery()
    base = root if root.is_dir() else root.parent
    files = files_below(root, found)
    if exclude is not None:
        files = [path for path in files if not path.resolve().is_relative_to(exclude.resolve())]
    with progress.task("Reading headers", total=len(files)) as advance:
        for path in files:
            if not is_image(path) or path.name.startswith("._"):
                found.ignored.append(Unused(path, NO_IMAGE, quarantined=False))
            else:
                try:
                    found.scans.append(image_scan(path, base, grey))
                except InputError as error:
                    found.quarantined.append(Unused(path, explained(error)))
            advance(1)
    return found


def image_scan(path: Path, base: Path, grey: Grey) -> Scan:
    """The image as a scan. Raises `InputError` if it is not readable."""
    inside = path.relative_to(base)
    patient = inside.parts[0] if len(inside.parts) > 1 else path.stem
    return Scan(path, IMAGE, patient, inside.as_posix(), image_geometry(path, grey.field), (path,), grey=grey)


def image_note(scan: Scan) -> str:
    """A note on the limitations of an image, compared with a scan in HU."""
    assert scan.grey is not None
    bits = bits_of(scan.source)
    return (
        f"the image has {bits}-bit grey levels of {scan.grey.low:g} … {scan.grey.high:g} HU in steps of "
        f"{scan.grey.step(bits):.3g} HU, without values outside this range; its pixel size is unknown, and its longer "
        f"side is taken to be {scan.grey.field:g} mm"
    )
