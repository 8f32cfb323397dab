"""The command line: parse, call, print, exit code. Exit codes: 0 all done, 1 some failed, 2 bad input, 130 stopped.

Importing `making`, `submit`, `planning`, `looking`, `sweeps` and `inside` adds their commands to the application, in
the order of the help.
"""

from dreamjobs.cli import making  # noqa: I001  # the order of the help
from dreamjobs.cli import submit
from dreamjobs.cli import planning
from dreamjobs.cli import looking
from dreamjobs.cli import sweeps
from dreamjobs.cli import inside
from dreamjobs.cli.app import app, main

__all__ = ["app", "inside", "looking", "main", "making", "planning", "submit", "sweeps"]
