"""`python -m dreamjobs`."""

from dreamjobs.cli import main

main()
