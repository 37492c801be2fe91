"""`python -m ildfv`, and `torchrun … -m ildfv`."""

from ildfv.cli import main

if __name__ == "__main__":
    main()
