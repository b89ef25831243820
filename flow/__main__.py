"""`python -m flow` and the command `flow`."""

import sys

from flow.cli.program import run

__all__ = ["main"]


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
