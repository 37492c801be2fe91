"""Small options of texture classification, and the commands with them."""

from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.texture.collection import by_folder

SMALL = {"backbone": "filters", "n_components": 2, "layers": "derivatives", "scales": (1.0,), "head": "regression"}
OPTIONS = [
    "--backbone",
    "filters",
    "--layers",
    "derivatives",
    "--components",
    "2",
    "--scales",
    "1",
    "--head",
    "regression",
]


def run(*arguments):
    return CliRunner().invoke(app, ["texture", *map(str, arguments)])


def images_of(folder):
    """(paths, labels) of the images of the set in a folder."""
    collection = by_folder(folder / "set")
    return collection.paths, collection.labels
