"""The command line: parse, call, print, exit code. Exit codes: 0 all done, 1 some failed, 2 bad input."""

from dreamjobs.cli.app import main

__all__ = ["main"]
