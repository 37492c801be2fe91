"""The command line: parse, call one function, print."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import Any

INTERRUPTED = 128 + signal.SIGINT  # exit code of a program that a signal ends, and how typer tells of Ctrl-C


def main() -> None:
    """Runs `ildfv`. A user's mistake ends in one clear line and exit code 1, never in a traceback (unless -vv)."""
    received = signal.SIGINT

    def stop(number: int, frame) -> None:
        nonlocal received
        received = signal.Signals(number)
        raise KeyboardInterrupt

    if "WORLD_SIZE" not in os.environ:  # a rank waits for others where no signal is heard: torchrun would wait for it
        signal.signal(signal.SIGTERM, stop)
    try:
        _run()
    except KeyboardInterrupt:
        _fail("stopped; the same command goes on from here", code=128 + received)


def _run() -> None:
    # Idle OpenMP threads must sleep: torch and the kernel each have their own team, on the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # half an import cannot be made good: signals wait
    import typer

    from ildfv import distributed
    from ildfv.cli.app import app
    from ildfv.errors import InputError, LostRankError, MissingPackageError

    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: the next file would take its place, and hear what is printed
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115  as long as we run
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
        _fail(str(error))
    except MemoryError as error:
        _fail(f"out of memory: {error}; a smaller --batch-size or fewer --workers may help")
    except BrokenPipeError:  # whoever read it has read enough, as `head` does
        _nowhere(sys.stdout)
        sys.exit(1)  # as typer does where it meets one
    except OSError as error:
        if error.errno is None or "-vv" in sys.argv:
            raise
        _fail(f"{error.filename or 'the file system'}: {error.strerror}")
    except typer.Abort as abort:
        if isinstance(abort.__cause__, EOFError):  # of some reader, that typer takes for a prompt's
            raise abort.__cause__ from None
        raise KeyboardInterrupt from None
    except Exception as error:
        usage: Any = error
        if not hasattr(usage, "format_message"):  # typer's usage errors have it, whichever click typer brings along
            raise
        if len(sys.argv) == 1:
            usage.show()
            sys.exit(2)
        wrong: list[dict] = getattr(error.__cause__, "errors", list)()  # pydantic's, of a value
        got = [f", got {one['input']}" for one in wrong]
        _fail(f"{usage.format_message()}{''.join(got)} (--help shows the options)", code=2)
    finally:
        distributed.stop()


def _fail(message: str, code: int = 1) -> None:
    from rich.console import Console
    from rich.text import Text

    from ildfv import distributed
    from ildfv.cli import output
    from ildfv.visible import visible, visible_json

    one_line = visible(" ".join(message.splitlines()))  # spaces stay: those of a path, two or one, are part of it
    output.failed(one_line)
    try:
        if "--json" in sys.argv and distributed.is_main() and distributed.is_last_start():
            print(visible_json(json.dumps({"error": one_line}, ensure_ascii=False)))
        sys.stdout.flush()
    except OSError:  # nobody can read it; as Python ends it would try again, and fail again
        _nowhere(sys.stdout)
    if not distributed.is_main():
        one_line = f"rank {distributed.rank()}: {one_line}"
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), one_line))
    sys.exit(code)


def _nowhere(stream) -> None:
    """What is still to be written to this stream is let go."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
