"""Commands `texture encode`, `texture classify` and `texture predict`, for images of any kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.counted import counted

app = typer.Typer(help="Classify images of any kind by their texture, with Fisher vectors.", no_args_is_help=True)

Backbone = Annotated[
    str,
    typer.Option(
        help="Descriptors: filters, efficientnet-lite0, timm:NAME or torchvision:NAME, or several joined by +. Append "
        "@FILE to use your own weights. auto: filters+efficientnet-lite0 if the network's weights are installed and no "
        "image is smaller than 32 pixels along a side, otherwise filters."
    ),
]
Layers = Annotated[str, typer.Option(help="Layers, separated by commas, or auto.")]
Scales = Annotated[
    str,
    typer.Option(
        help="Factors by which images are resized, separated by commas. auto: `1,0.5` for filters; `1.4,1,0.5` for "
        "networks, or `2,1,0.5` if the median of the images' smaller sides is below 128 pixels."
    ),
]
Components = Annotated[int, typer.Option(help="Number of components of each layer's mixture.", min=1)]
ERRORS_SHOWN = 5  # names of images with the same error
CHOICES = (
    "Classifier: regression (ridge), logistic, svm, or auto to choose it by cross-validation on the training images."
)


def encode(
    images: Annotated[Path, typer.Argument(help="Folder of images, at any depth, or one image.")],
    out: Annotated[Path, typer.Option(help="Folder for the features. Run the command again to resume.")],
    backbone: Backbone = "auto",
    layers: Layers = "auto",
    scales: Scales = "auto",
    components: Components = 32,
    seed: o.Seed = 0,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Write one Fisher vector per image. The encoder is fitted on all images; labels are not used.

    Example: `ildfv texture encode photos --out features`
    """
    from ildfv.store.outputs import check_folder
    from ildfv.texture.collection import images_in

    check_folder(out)
    files, factors = images_in(images), _numbers(scales)

    from ildfv.texture.encode import encode as encode_images  # slow imports, after the checks
    from ildfv.texture.encoder import TextureEncoder

    encoder = TextureEncoder(backbone, layers=layers, scales=factors, n_components=components, random_state=seed)
    base = images if images.is_dir() else images.parent
    index = encode_images(files, out, encoder, named=lambda path: _below(path, base), progress=output.progress(verbose))
    if not output.emit(index, as_json=as_json):
        count = len(index["images"])
        output.out.print(f"{out}: {counted(count, 'Fisher vector')} of {index['length']} values")


def classify(
    images: Annotated[
        Path,
        typer.Argument(
            help="Folder with one folder per class; with --table, the base of relative paths; with --layout, the "
            "folder of the data set."
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the columns path, label and, optionally, group.", show_default="classes from folders"
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Unpacked public data set: kth-tips, kth-tips2, dtd, fmd, outex, emphysema or hug-ild.",
            show_default="one folder per class",
        ),
    ] = None,
    train_per_class: Annotated[
        int | None, typer.Option(help="Number of training images per class, drawn at random in each repeat.", min=1)
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Number of repeats of --train-per-class.", min=1, show_default="10")
    ] = None,
    leave_one_group_out: Annotated[
        bool, typer.Option("--leave-one-group-out", help="One split per group: the group is the test set.")
    ] = False,
    folds: Annotated[
        int | None, typer.Option(help="Number of folds. Images of one group are in the same fold.", min=2)
    ] = None,
    backbone: Backbone = "auto",
    layers: Layers = "auto",
    scales: Scales = "auto",
    components: Components = 32,
    head: Annotated[str, typer.Option(help=CHOICES)] = "regression",
    page: Annotated[Path | None, typer.Option(help="HTML page to write.", show_default="not written")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder for a model fitted on all images.", show_default="not written")
    ] = None,
    seed: o.Seed = 0,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Measure the accuracy of a texture classifier. The default protocol is 5 folds.

    Everything, including the choice of the classifier, is fitted on the training images of each split.

    Example: `ildfv texture classify textures --train-per-class 40 --repeats 10 --page textures.html`
    """
    from ildfv.errors import check
    from ildfv.store.outputs import check_folder
    from ildfv.texture.choices import check_kind, check_page
    from ildfv.texture.collection import by_folder, by_table
    from ildfv.texture.layouts import read_layout
    from ildfv.texture.splits import Protocol

    check(table is None or layout is None, "--table and --layout must not be given together, got both: omit one")
    rule = "--repeats needs --train-per-class, got none"
    check(repeats is None or train_per_class is not None, f"{rule}: folds and groups are not repeated")
    if page is not None:
        check_page(page)
    if model is not None:
        check_folder(model)
        inside = model.resolve().is_relative_to(images.resolve())
        check(not inside, f"--model must be outside the folder of the images, got {model}: choose another folder")
    check_kind(head)
    factors = _numbers(scales)
    given = train_per_class is not None or leave_one_group_out or folds is not None
    protocol = Protocol(train_per_class, repeats or 10, leave_one_group_out, folds if given else 5, seed)
    if layout is not None:
        collection = read_layout(layout, images)
    else:
        collection = by_folder(images) if table is None else by_table(table, images)
    protocol.check_set(collection)

    from ildfv.texture.classifier import TextureClassifier  # slow imports, after the checks
    from ildfv.texture.evaluate import evaluate
    from ildfv.texture.page import write_page

    classifier = TextureClassifier(
        backbone, layers=layers, scales=factors, n_components=components, head=head, random_state=seed
    )
    progress = output.progress(verbose)
    found = evaluate(collection, classifier, protocol, named=lambda path: _below(path, images), progress=progress)
    if page is not None:
        write_page(page, found, {_below(p, images): p for p in collection.paths}, f"Textures of {images.name}")
    if model is not None:
        progress.note("fitting on all images")
        classifier.fit(collection.paths, collection.labels, collection.groups).save(model)
    result = found.to_dict() | {"page": page and str(page), "model": model and str(model)}
    if output.emit(result, as_json=as_json):
        return
    accuracy = result["accuracy"]
    sd = "" if accuracy["sd"] is None else f" ± {100 * accuracy['sd']:.2f}"
    output.out.print(f"Accuracy {100 * accuracy['mean']:.2f}{sd} % ({found.protocol})")
    columns = ["true class", *found.classes]
    rows = [(name, *map(int, row)) for name, row in zip(found.classes, found.confusion, strict=True)]
    output.table("Confusion: images by predicted class", columns, rows)
    for one in found.duplicates:
        names, both = ", ".join(one["paths"]), one["splits_with_both_sides"]
        parts = [f"images with equal pixels: {names}"]
        parts += [f"in {counted(both, 'split')}, some are training images and others test images"] * (both > 0)
        parts += [f"they have different classes: {', '.join(one['classes'])}"] * (len(one["classes"]) > 1)
        output.record("; ".join(parts))
    for name, path in (("Page", page), ("Model", model)):
        if path is not None:
            output.out.print(f"{name}: {path}")


def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `ildfv texture classify --model` wrote.")],
    images: Annotated[Path, typer.Argument(help="Folder of images, or one image.")],
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Print the class of each image. If an image cannot be used, its error is printed and the exit code is 1.

    Example: `ildfv texture predict model photos`
    """
    from ildfv.errors import InputError, check
    from ildfv.store.models import load_info
    from ildfv.texture.collection import images_in

    check(model.is_dir(), f"{model} must be a folder that `ildfv texture classify --model` wrote, got no such folder")
    load_info(model)  # raises if there is no model
    files = images_in(images)

    from ildfv.texture.classifier import TextureClassifier  # slow imports, after the checks

    classifier = TextureClassifier.load(model)
    base = images if images.is_dir() else images.parent
    rows: list[dict] = []
    with output.progress(verbose).task("images", len(files)) as advance:
        for path in files:
            try:
                scores = classifier.scores([path])[0]
                label = classifier.classes_[scores.argmax()]
                values = {str(name): float(s) for name, s in zip(classifier.classes_, scores, strict=True)}
                rows.append({"path": _below(path, base), "label": str(label), "scores": values})
            except InputError as error:
                rows.append({"path": _below(path, base), "error": str(error)})
            advance()
    failed = sum("error" in row for row in rows)
    if not output.emit({"images": rows}, as_json=as_json):
        if failed < len(rows):
            output.lines("Classes", [(row["path"], row["label"]) for row in rows if "label" in row])
        _print_errors(rows, base)
    if failed:
        raise typer.Exit(1)


def _print_errors(rows: list[dict], base: Path) -> None:
    """Print the errors of images, one line per kind: images with the same error are listed together."""
    by_kind: dict[str, list[str]] = {}
    for row in rows:
        if "error" in row:
            kind = row["error"].removeprefix(str(base / row["path"])).strip()
            by_kind.setdefault(kind, []).append(row["path"])
    for kind, paths in by_kind.items():
        shown = ", ".join(paths[:ERRORS_SHOWN])
        more = f" and {len(paths) - ERRORS_SHOWN} more" if len(paths) > ERRORS_SHOWN else ""
        output.record(f"error: {shown}{more}: {kind}")


def _numbers(text: str) -> str | tuple[float, ...]:
    """The numbers in a text such as "1,0.5", or "auto"."""
    from ildfv.errors import InputError

    if text == "auto":
        return text
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise InputError(
            f'--scales must be auto, or numbers separated by commas, such as 1,0.5, got "{text}"'
        ) from None


def _below(path: Path, folder: Path) -> str:
    """The path relative to the given folder, so that outputs do not contain the names of parent folders."""
    whole, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # symbolic links are not resolved
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else path.as_posix()


COMMANDS = (encode, classify, predict)
