"""The text that `prepare` prints: the report of a run, and the preview of `--dry-run`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ildfv.cli import output
from ildfv.counted import counted
from ildfv.errors import printable

LISTED = 3  # maximum number of names, or of entries with the same reason, that are printed
NUMBER = re.compile(r"\d+(\.\d+)?")


def show_report(report: dict, workspace: str, *, paths: bool, every_file: bool) -> None:
    """Prints the report of `prepare`: unused files, notes, removed scans, and the content of the workspace.

    workspace: the workspace's name, as printed in the last line. paths: whether to print paths and reasons.
    every_file: whether to list each ignored file.
    """
    if paths:
        nothing = not report["scans"] and not report["quarantined"]
        _show_unused(report, every_file or nothing, f"in {Path(workspace) / 'prepare.json'}")
    else:
        _print_counts(report)
    notes = [(Path(scan["source"]).name, note) for scan in report["prepared"] for note in scan.get("notes", ())]
    for line in grouped_notes(notes):
        output.prose(printable(f"note: {line}"))
    for note in report["notes"]:
        output.prose(printable(f"note: {note}"))
    if report["removed"]:
        removed = [(one["series"], one.get("reason", counted(one["slices"], "slice"))) for one in report["removed"]]
        output.lines("Removed from the workspace", removed)
        what = f"{counted(report['removed_scans'], 'scan')} and {counted(report['removed_slices'], 'slice')}"
        output.prose(f"note: {what} of earlier runs were removed from the workspace.")
    kept = f"; {counted(report['kept'], 'scan')} unchanged" if report["kept"] else ""
    output.prose(f"This run: {_contents(report)}{kept}.")
    output.prose(f"{workspace} now contains {_contents(report['workspace'])}.")


def _print_counts(report: dict) -> None:
    """Prints how many files were quarantined and ignored, without their names."""
    for name in ("quarantined", "ignored"):
        if files := _files(report[name]):
            output.prose(f"{counted(files, 'file')} {name}: see prepare.json in the workspace for the reasons.")


def _files(unused: list[dict]) -> int:
    """The number of files in these entries of the report."""
    return sum(max(1, one["files"]) for one in unused)  # an entry for a link to a folder has 0 files


def show_preview(preview: dict, *, every_file: bool) -> None:
    """Prints the scans, label maps and patients that `prepare` would use."""
    for scan in preview["scans"]:
        what = f"patient {scan['patient']}, {counted(scan['slices'], 'slice')}, label map: {scan['label'] or 'none'}"
        output.record(printable(f"{scan['source']}: {what}"))
    _show_unused(preview, every_file, "by --json")
    for note in preview["notes"]:
        output.out.print(printable(f"note: {note}"))
    labelled = sum(scan["label"] is not None for scan in preview["scans"])
    found = counted(len(preview["scans"]), "scan")
    output.prose(f"{found}, {labelled} with label maps; nothing was written.")


def _show_unused(report: dict, every_file: bool, full_list: str) -> None:
    """Prints the quarantined and the ignored files: grouped by reason, or each of them if `every_file`.

    full_list: where all quarantined files are listed.
    """
    if report["quarantined"]:
        reasons = [(one["source"], one["reason"]) for one in report["quarantined"]]
        output.lines("Quarantined", reasons if every_file else grouped_reasons(reasons, full_list))
    if report["ignored"] and every_file:
        output.lines("Ignored files", [(one["source"], one["reason"]) for one in report["ignored"]])
        return
    by_reason: dict[str, list[dict]] = {}
    for unused in report["ignored"]:
        by_reason.setdefault(unused["reason"], []).append(unused)
    for reason, entries in by_reason.items():
        names = [Path(unused["source"]).name for unused in entries]
        which = _names_or_count(names, f"{len(names)} paths, the first is {names[0]}")
        output.record(printable(f"{counted(_files(entries), 'file')} ignored ({which}): {reason}"))


def grouped_reasons(entries: Iterable[tuple[str, str]], full_list: str) -> list[tuple[str, str]]:
    """(source, reason) of each entry, or one entry for more than `LISTED` sources with the same kind of reason.

    Reasons of one kind differ only in numbers and in the name of their source. full_list: where all are listed.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for source, reason in entries:
        kinds.setdefault(NUMBER.sub("#", _without_source(source, reason)), []).append((source, reason))
    lines = []
    for found in kinds.values():
        if len(found) <= LISTED:
            lines += found
            continue
        names = ", ".join(Path(source).name for source, _ in found[:LISTED])
        others = len({_without_source(*one) for one in found}) - 1
        values = f" ({counted(others, 'other value')} in some of them)" if others else ""
        which = f"{len(found):,} scans or files (the first: {names}; all are listed {full_list})"
        lines.append((which, found[0][1] + values))
    return lines


def _without_source(source: str, reason: str) -> str:
    """The reason without the path and the name of its source."""
    name = Path(source).name
    return reason.replace(source, "#").replace(name, "#") if name else reason


def grouped_notes(notes: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each kind of note, with the names of its scans. Notes of one kind differ only in numbers."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, note in notes:
        kinds.setdefault(NUMBER.sub("#", note), []).append((name, note))
    lines = []
    for found in kinds.values():
        texts = Counter(note for _, note in found)
        names = [name for name, _ in found]
        which = _names_or_count(names, f"{counted(len(found), 'scan')} (the first: {names[0]})")
        others = f" ({counted(len(texts) - 1, 'other value')} in some of these scans)" if len(texts) > 1 else ""
        lines.append(f"{which}: {texts.most_common(1)[0][0]}{others}")
    return lines


def _names_or_count(names: list[str], count: str) -> str:
    """The names if there are at most `LISTED`, otherwise the count."""
    return ", ".join(names) if len(names) <= LISTED else count


def _contents(counts: dict) -> str:
    """The numbers of scans, patients and slices as text."""
    scans, patients, slices = (counted(counts[f"{what}s"], what) for what in ("scan", "patient", "slice"))
    if "labelled_scans" in counts:  # labels of scans: which slices show a pattern is unknown
        return f"{scans} of {patients} ({counts['labelled_scans']:,} with labels), {slices}"
    return f"{scans} of {patients}, {slices} ({counts['labelled_slices']:,} with labels)"
