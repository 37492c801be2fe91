"""Run as `python command.py encode …`: the command line with the small network registered."""

import small  # noqa: F401

from ildfv.cli import main

if __name__ == "__main__":
    main()
