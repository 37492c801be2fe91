"""The command line: parse, call one function, print."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import Any

INTERRUPTED = 128 + signal.SIGINT  # exit code after SIGINT; typer returns it on Ctrl-C
STOPPED = "interrupted: run the same command again to resume"


def main() -> None:
    """Runs `ildfv`. An error that the user can correct is printed as one line, and with -vv as a traceback.

    The exit code is 1 for invalid input, and 2 for a usage error or a missing extra.
    """
    received = signal.SIGINT

    def stop(number: int, frame) -> None:
        nonlocal received
        received = signal.Signals(number)
        raise KeyboardInterrupt

    # A rank that waits in a collective operation would not handle the signal, and torchrun would wait for the rank.
    if "WORLD_SIZE" not in os.environ:
        signal.signal(signal.SIGTERM, stop)
    try:
        _run()
    except KeyboardInterrupt:
        _fail(STOPPED, code=128 + received)


def _run() -> None:
    # Idle OpenMP threads must sleep, because torch and the kernels have separate thread pools on the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.set_threshold(100_000, 20, 20)  # imports allocate many objects; importing torch takes 10 % less CPU time
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # an interrupted import would leave a module partly loaded
    import typer

    from ildfv import distributed
    from ildfv.cli.app import app
    from ildfv.errors import InputError, LostRankError, MissingPackageError, explained, linked

    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed; otherwise the next file would get its descriptor, and thus its output
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115  open until exit
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except (InputError, LostRankError, MissingPackageError) as error:
        if "-vv" in sys.argv:
            raise
        _fail(explained(error), code=2 if isinstance(error, MissingPackageError) else 1)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        _fail(linked(f"out of memory{reason}: use a smaller --batch-size or fewer --workers", "out-of-memory"))
    except BrokenPipeError:  # the reader closed the pipe early, as `head` does
        _discard(sys.stdout)
        sys.exit(1)  # the same code as typer uses
    except OSError as error:
        if error.errno is None or "-vv" in sys.argv:
            raise
        _fail(f"{error.filename or 'the file system'}: {error.strerror}")
    except typer.Abort as abort:
        if isinstance(abort.__cause__, EOFError):  # from reading a file; typer expects it only from a prompt
            raise abort.__cause__ from None
        raise KeyboardInterrupt from None
    except Exception as error:
        usage: Any = error
        if not hasattr(usage, "format_message"):  # in all versions of click, only usage errors have this method
            raise
        if len(sys.argv) == 1:
            usage.show()
            sys.exit(2)
        wrong: list[dict] = getattr(error.__cause__, "errors", list)()  # if the cause is an error of pydantic
        got = [f", got {one['input']}" for one in wrong]
        _fail(f"{usage.format_message()}{''.join(got)} (--help shows the options)", code=2)
    finally:
        distributed.stop()


def _fail(message: str, code: int = 1) -> None:
    """Prints an error as one line on stderr, and with --json also as JSON on stdout, and exits."""
    from rich.console import Console
    from rich.text import Text

    from ildfv import distributed
    from ildfv.cli import output
    from ildfv.errors import printable

    one_line = printable(output.quoted.complete(" ".join(message.splitlines())))  # spaces may be part of a path
    output.failed(one_line)
    try:
        if "--json" in sys.argv and distributed.is_main() and distributed.is_last_start():
            print(output.json_text({"error": one_line}))
        sys.stdout.flush()
    except OSError:  # stdout cannot be written; without `_discard`, Python would fail again at exit
        _discard(sys.stdout)
    if not distributed.is_main():
        one_line = f"rank {distributed.rank()}: {one_line}"
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), one_line))
    sys.exit(code)


def _discard(stream) -> None:
    """Discards the unwritten output of `stream`."""
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), stream.fileno())
