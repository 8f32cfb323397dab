"""What commands share: settings from the command line, files to write, progress on a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def read_settings(texts: list[str] | None) -> dict[str, Any]:
    """`--set` texts as a mapping; a net of one's own is made importable."""
    from dreamjobs.grid import merge_settings

    settings = merge_settings(texts or [])
    nets = settings.get("net")
    for net in nets if isinstance(nets, list) else [nets]:
        make_importable(str(net))
    return settings


def make_importable(net: str) -> None:
    """A net of one's own is looked for in the current folder too, here and in the actors."""
    if ":" in net:
        sys.path.insert(0, os.getcwd())
        os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])


def reject_axes(values: dict[str, Any]) -> None:
    """Raise ParamsError for lists, where one picture is made."""
    from dreamjobs.errors import ParamsError

    lists = [name for name, value in values.items() if isinstance(value, list)]
    if lists:
        raise ParamsError(
            f"{', '.join(lists)}: one value is needed for one picture; lists are for `dreamjobs manifest`"
        )


def write(out: str, data: bytes) -> None:
    """Put a file, local or on S3, whole."""
    from dreamjobs.storage import open_store, split_url

    place = split_url(out)
    open_store(place.base).put(place.key, data)


@contextmanager
def spinner(what: str) -> Iterator[Any]:
    """A count on a terminal's last line, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda number: None
        return
    from rich.console import Console

    with Console(stderr=True).status(f"0 {what}") as line:
        yield lambda number: line.update(f"{number:,} {what}") if number % 100 == 0 else None


@contextmanager
def bar() -> Iterator[Any]:
    """A bar of steps on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("dreaming", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
