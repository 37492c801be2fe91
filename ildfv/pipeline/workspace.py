"""The workspace: the folder of one study, its settings and the paths in it."""

from __future__ import annotations

import secrets
from pathlib import Path

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ildfv.datasets.scan_labels import BOTH, ScanLabels
from ildfv.datasets.slice_labels import SliceLabels
from ildfv.datasets.slice_store import Slices
from ildfv.datasets.slices_key import slices_key
from ildfv.errors import InputError, check
from ildfv.evaluation.documents import RESULTS, Results
from ildfv.parsing import read_toml
from ildfv.patterns import THRESHOLD, Threshold, parse_threshold
from ildfv.pipeline.location import SETTINGS, check_workspace, option_of
from ildfv.scans.preparation import Preparation, check_same
from ildfv.scans.prepared_lungs import RULE
from ildfv.store.atomic import write_bytes
from ildfv.store.checksummed import read_checksummed, write_checksummed
from ildfv.store.lock import writing
from ildfv.store.parts import MANIFEST


class Settings(BaseModel):
    """The settings of a workspace, written when it is created."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(1, ge=1, le=1)
    version: str  # the version of ildfv that created the workspace
    salt: str = Field(min_length=16)  # for hashing identities; as confidential as the scans
    threshold: Threshold = THRESHOLD  # T: the minimum extent of a pattern that counts as present
    folds: int = Field(5, ge=2)
    seed: int = Field(0, ge=0, lt=2**32)  # the seeds that NumPy's `RandomState` accepts
    slices: str | None = None  # path or URL of prepared slices; None for slices/ of the workspace
    # Options of `scans.preparation`.
    normalise: str | None = None  # None: HU are not normalised
    pixel_size: float | None = None  # mm; None: the pixel sizes of the scans are kept
    noise_level: float | None = None  # HU; None: the noise is not reduced
    lungs: str | None = None  # method that finds the lung; None: the built-in rule

    _threshold = field_validator("threshold", mode="before")(parse_threshold)

    @property
    def preparation(self) -> Preparation:
        """The changes to the HU of scans, and the method that finds the lung."""
        return Preparation(self.normalise, self.pixel_size, self.noise_level, self.lungs or RULE)


class Workspace:
    """The paths, settings and results of a workspace."""

    def __init__(self, root: Path, settings: Settings):
        self.root, self.settings = Path(root), settings
        self.is_new = False  # whether the settings are not on disk yet
        self.slices_dir = self.root / "slices"
        self.folds_file = self.root / "folds.json"
        self.models_dir = self.root / "models"
        self.encodings_dir = self.root / "encodings"
        self.results_dir = self.root / "results"
        self.slice_labels_file = self.root / "slice-labels.json"
        self.scan_labels_file = self.root / "scan-labels.json"

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """The workspace in `root`. InputError: the folder is not a workspace, or its settings are not valid."""
        check_workspace(root)
        path = Path(root) / SETTINGS
        return cls(root, _settings(str(path), read_toml(path)))

    @classmethod
    def open_or_create(cls, root: Path, *, version: str, **settings) -> Workspace:
        """The workspace in `root`, which is created if it does not exist.

        version: the version of ildfv. settings: fields of `Settings`. A new workspace has these values, and the
        defaults instead of None; the default salt is random. An existing workspace must have the same values, except
        for settings that are None.

        InputError: a setting is not valid, the settings of an existing workspace are different, or another process
        creates the workspace at the same time.
        """
        workspace = cls.open_or_plan(root, version=version, **settings)
        workspace.save()
        return workspace

    @classmethod
    def open_or_plan(cls, root: Path, *, version: str, **settings) -> Workspace:
        """Like `open_or_create`, but a new workspace is not written to disk until `save` is called."""
        root = Path(root)
        if not (root / SETTINGS).exists():
            given = {name: value for name, value in settings.items() if value is not None}
            workspace = cls(
                root, _settings(f"the settings of {root}", {"version": version, "salt": secrets.token_hex(16)} | given)
            )
            workspace.is_new = True
            return workspace
        workspace = cls.open(root)
        for name, value in settings.items():
            if value is not None and (found := getattr(workspace.settings, name)) != value:
                rule = f"{name} must be {found!r} as in {root / SETTINGS}, got {value!r}"
                raise InputError(f"{rule}: use another workspace")
        return workspace

    def save(self) -> None:
        """Writes the settings of a new workspace. InputError: another process has created it, or locks its folder."""
        if not self.is_new:
            return
        path = self.root / SETTINGS
        with writing(self.root):
            check(not path.exists(), f"{path} was created by another process: run the command again")
            write_bytes(path, tomli_w.dumps(self.settings.model_dump(exclude_none=True)).encode(), private=True)
        self.is_new = False

    def slices(self) -> Slices:
        """The prepared slices with labels.

        InputError: there are no slices, they cannot be read or do not match the settings, a file of labels is corrupt,
        or there are labels of both scans and slices.
        """
        if self.settings.slices is not None:
            return Slices(self.settings.slices)
        slices = self.stored_slices()
        if self.scan_labels_file.exists():
            rule = f"{BOTH}, got {self.scan_labels_file.name} and {self.slice_labels_file.name} in {self.root}"
            check(not self.slice_labels_file.exists(), f"{rule}: run `ildfv prepare --labels` again")
            return ScanLabels.read(self.scan_labels_file).apply(slices)
        if not self.slice_labels_file.exists():
            return slices
        return SliceLabels.from_dict(read_checksummed(self.slice_labels_file)["labels"]).apply(slices)

    def stored_slices(self) -> Slices:
        """The slices in slices/, without the labels from `prepare --labels`.

        InputError: there are no slices, or they were prepared by another version of ildfv, with another salt, or with
        other options of `scans.preparation`.
        """
        if not (self.slices_dir / MANIFEST).exists():
            raise InputError(f"{self.root} has no slices: run `ildfv prepare SCANS{option_of(self.root)}`")
        slices = Slices(self.slices_dir)
        check(
            slices.parts.key == self.slices_key,
            f"{self.slices_dir} must contain slices that this version of ildfv prepared with the salt in "
            f"{self.root / SETTINGS}, got slices of another version or with another salt: restore the version or the "
            "salt, or prepare the scans in another workspace",
        )
        what = f"{self.slices_dir} must be prepared as {self.root / SETTINGS} states,"
        check_same(self.settings.preparation, slices.preparation, what)
        return slices

    @property
    def slices_key(self) -> str:
        """The key of the workspace's own slices, whose identities are hashed with its salt."""
        return slices_key(self.settings.salt)

    def model_dir(self, name: str, fold: int) -> Path:
        """The folder of the network `name` that is trained without this fold."""
        return self.models_dir / name / f"fold-{fold}"

    def encoding_dir(self, layer: str, fold: int, region: str = "slice") -> Path:
        """The folder of the encoding of a layer in a region. Its mixture and PCA are fitted without this fold."""
        return self.encodings_dir / (layer if region == "slice" else f"{layer}-{region}") / f"fold-{fold}"

    def write_result(self, name: str, results: Results) -> Path:
        """Writes the results to results/<name>.json and returns the path."""
        path = self.results_dir / f"{name}.json"
        write_checksummed(path, results.to_dict())
        return path

    def results(self) -> dict[str, Results]:
        """All results by name. InputError: a document is corrupt, not valid, or not named after its system and fold."""
        read = {path: read_checksummed(path) for path in sorted(self.results_dir.glob("*.json"))}
        found = {
            path: Results.from_dict(values, name=str(path))
            for path, values in read.items()
            if values.get("kind") == RESULTS
        }
        for path, results in found.items():
            check_result_name(path, results)
        return {path.stem: results for path, results in found.items()}


def _settings(what: str, values: dict) -> Settings:
    """The settings with these values. what: start of the message. InputError: a value is not valid."""
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{what}: {name}: {first['msg']}, got {first['input']!r}") from error


def check_result_name(path: Path, results: Results) -> None:
    """Raises InputError unless the file is named after the system and fold of its results.

    A renamed copy would otherwise be read as the results of another system or fold.
    """
    name = f"{results.system}-fold-{results.fold}"
    check(path.stem == name, f"{path} must contain the results of {path.stem}, got those of {name}: remove it")
