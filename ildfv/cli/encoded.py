"""The text that `encode` prints."""

from __future__ import annotations

from ildfv.cli import output
from ildfv.counted import counted


def show_encodings(encodings: list[dict], command: str, as_json: bool) -> None:
    """Prints the content of encoding.json of each encoding, and the next command.

    With `as_json` and several encodings, the result is {"encodings": [...], "next": command}.
    """
    document = encodings[0] if len(encodings) == 1 else {"encodings": encodings, "next": command}
    if output.emit(document, as_json=as_json):
        return
    for one in encodings:
        after = counted(one["passes"], "pass", "passes")
        output.prose(
            f"{counted(one['slices'], 'slice')} with {counted(one['descriptors'], 'descriptor')} of layer "
            f"{one['layer']} ({counted(one['d'], 'dimension')}, {one['inputs']['model']}) were encoded by a mixture of "
            f"{counted(one['components'], 'component')}. PCA reduced the Fisher vectors from {one['fisher_length']:,} "
            f"to {counted(one['dimensions'], 'dimension')} ({100 * one['explained_variance']:.1f} % of the variance).\n"
            f"Mean log likelihood per training descriptor: {one['mean_log_likelihood']:.4f} "
            f"after {after}. Written to {one['folder']}."
        )
    completed = output.quoted.complete(f"`{command}`")
    output.out.print(f"Next: {completed.strip('`')}", soft_wrap=True)
