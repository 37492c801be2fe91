"""Run as `python command.py encode …`: the command line, which here also knows the small network."""

import small  # noqa: F401

from ildfv.cli import main

if __name__ == "__main__":
    main()
