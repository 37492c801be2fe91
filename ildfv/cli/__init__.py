"""The command line: parse, call one function, print."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

INTERRUPTED = 130  # exit code: 128 and the number of the signal


def main() -> None:
    """Runs `ildfv`. A user's mistake ends in one clear line and exit code 1, never in a traceback (unless -vv)."""
    # Idle OpenMP threads must sleep: torch and the kernel each have their own team, on the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import typer

    from ildfv import distributed
    from ildfv.cli.app import app
    from ildfv.errors import InputError, LostRankError, MissingPackageError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
        if code == INTERRUPTED:  # how typer tells of Ctrl-C
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
        if error.filename is None:  # what was printed, perhaps: trying again as Python ends would fail again
            _nowhere(sys.stdout)
        if error.errno is None or "-vv" in sys.argv:
            raise
        _fail(f"{error.filename or 'the file system'}: {error.strerror}")
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; the same command goes on from here", code=INTERRUPTED)
    except Exception as error:
        usage: Any = error
        if not hasattr(usage, "format_message"):  # typer's usage errors have it, whichever click typer brings along
            raise
        if len(sys.argv) == 1:
            usage.show()
            sys.exit(2)
        _fail(f"{usage.format_message()} (--help shows the options)", code=2)
    finally:
        distributed.stop()


def _fail(message: str, code: int = 1) -> None:
    from rich.console import Console
    from rich.text import Text

    from ildfv import distributed
    from ildfv.cli import output

    one_line = " ".join(message.split())
    output.failed(one_line)
    if "--json" in sys.argv and distributed.is_main() and distributed.is_last_start():
        print(json.dumps({"error": one_line}, ensure_ascii=False))
    if not distributed.is_main():
        one_line = f"rank {distributed.rank()}: {one_line}"
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), one_line))
    sys.exit(code)


def _nowhere(stream) -> None:
    """What is still to be written to this stream is let go."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
