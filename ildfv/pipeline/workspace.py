"""The folder in which one investigation lives: its settings and where everything in it is."""

from __future__ import annotations

import secrets
from pathlib import Path

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ildfv.datasets.slice_store import Slices
from ildfv.datasets.slices_key import slices_key
from ildfv.documents import read_toml
from ildfv.errors import InputError, check
from ildfv.patterns import THRESHOLD
from ildfv.store.atomic import write_bytes
from ildfv.store.checksummed import read_sealed, write_sealed
from ildfv.store.lock import writing
from ildfv.store.parts import MANIFEST

SETTINGS = "workspace.toml"


class Settings(BaseModel):
    """What holds for the whole workspace; written once, by the command that made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(1, ge=1, le=1)
    version: str  # of ildfv, when the workspace was made
    salt: str = Field(min_length=16)  # identities are hashed with it; keep it as private as the scans
    threshold: int = Field(THRESHOLD, gt=0)  # pixels from which a pattern counts as present
    folds: int = Field(5, ge=2)
    seed: int = Field(0, ge=0, lt=2**32)  # as NumPy takes them
    slices: str | None = None  # where prepared slices are read from, a path or URL; None: slices/ of the workspace


class Workspace:
    """Paths, settings and the finished things of one workspace."""

    def __init__(self, root: Path, settings: Settings):
        self.root, self.settings = Path(root), settings
        self.slices_dir = self.root / "slices"
        self.folds_file = self.root / "folds.json"
        self.models_dir = self.root / "models"
        self.encodings_dir = self.root / "encodings"
        self.results_dir = self.root / "results"

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """The workspace in `root`; `InputError` where there is none or its settings break a rule."""
        path = Path(root) / SETTINGS
        if not path.exists():
            raise InputError(f"{root} is no workspace ({SETTINGS} is missing): `ildfv prepare SCANS` makes one")
        try:
            return cls(root, Settings(**read_toml(path)))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{path}: {name}: {first['msg']}, got {first['input']!r}") from error

    @classmethod
    def open_or_create(cls, root: Path, *, version: str, **settings) -> Workspace:
        """The workspace in `root`, made with a fresh salt if there is none. Settings given must be those it has."""
        root = Path(root)
        if (root / SETTINGS).exists():
            workspace = cls.open(root)
            for name, value in settings.items():
                if value is not None and (found := getattr(workspace.settings, name)) != value:
                    raise InputError(f"{root / SETTINGS} has {name} = {found!r}, got {value!r}: use another workspace")
            return workspace
        given = {name: value for name, value in settings.items() if value is not None}
        with writing(root):
            if (root / SETTINGS).exists():  # another command has made it meanwhile
                return cls.open_or_create(root, version=version, **settings)
            made = Settings(version=version, **({"salt": secrets.token_hex(16)} | given))
            write_bytes(root / SETTINGS, tomli_w.dumps(made.model_dump(exclude_none=True)).encode(), private=True)
        return cls(root, made)

    def slices(self) -> Slices:
        """The prepared slices; `InputError` says which command makes them."""
        if self.settings.slices is not None:
            return Slices(self.settings.slices)
        if not (self.slices_dir / MANIFEST).exists():
            raise InputError(f"{self.root} holds no slices: `ildfv prepare SCANS` makes them")
        slices = Slices(self.slices_dir)
        rule = f"{self.slices_dir} must be prepared with the salt that {self.root / SETTINGS} has, and by this version"
        check(slices.parts.key == self.slices_key, f"{rule}, got others: restore the salt, or use another workspace")
        return slices

    @property
    def slices_key(self) -> str:
        """The key that the workspace's own slices must have: their identities are hashed with its salt."""
        return slices_key(self.settings.salt)

    def model_dir(self, name: str, fold: int) -> Path:
        """The folder of the network of that name trained without this fold."""
        return self.models_dir / name / f"fold-{fold}"

    def encoding_dir(self, layer: str, fold: int) -> Path:
        """The folder of the layer's encoding whose mixture and PCA know nothing of this fold."""
        return self.encodings_dir / layer / f"fold-{fold}"

    def write_result(self, name: str, content: dict) -> Path:
        """The path of `results/name.json`, which now holds `content`."""
        path = self.results_dir / f"{name}.json"
        write_sealed(path, content)
        return path

    def results(self) -> dict[str, dict]:
        """All results by name."""
        found = {path.stem: read_sealed(path) for path in sorted(self.results_dir.glob("*.json"))}
        for name, document in found.items():
            check_result_name(self.results_dir / f"{name}.json", document)
        return found


def check_result_name(path: Path, document: dict) -> None:
    """InputError if the results document is not of the system and fold that its file is named for: a copied file."""
    if document.get("kind") == "ildfv results":
        name = f"{document['system']}-fold-{document['fold']}"
        check(path.stem == name, f"{path} must hold the results of its name, got those of {name}: remove it")
