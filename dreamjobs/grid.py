"""A row's cells become its points: the product of the cells that are lists, lazily, in a fixed order.

The first list in the order of the names varies slowest, the last fastest. A grid file is a mapping of names to a
value or a list, or a list of such mappings, whose points follow one another. This module does not know which names
are parameters and what their values may be.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from dreamjobs.errors import ParamsError

Cells = Mapping[str, Any]

EMPTY = "the list is empty; an axis has at least one value, and null stands for the default"


def points(cells: Cells) -> Iterator[dict[str, Any]]:
    """Every point of the cells' product, as name -> one value; an empty list has no points."""
    axes = [value if isinstance(value, list) else [value] for value in cells.values()]
    for values in itertools.product(*axes):
        yield dict(zip(cells, values, strict=True))


def count(cells: Cells) -> int:
    """How many points `points` yields, without making them."""
    return math.prod(len(value) for value in cells.values() if isinstance(value, list))


def parse_grid(text: str | bytes, name: str = "grid") -> list[dict[str, Any]]:
    """The mappings of a grid file in YAML, as text or as the file's bytes (UTF-8, or UTF-16 with a mark).

    Raises:
        ParamsError: if it is not YAML, not a mapping or a list of mappings, or has an empty axis; `name` says which
            file.
    """
    data = _parse(text, name)
    mappings = data if isinstance(data, list) and data else [data]
    for number, mapping in enumerate(mappings, start=1):
        if not isinstance(mapping, dict) or not all(isinstance(key, str) for key in mapping):
            raise ParamsError(
                f"{name}: item {number} is {mapping!r}; a grid is a mapping such as `octaves: [3, 4]`, "
                "or a list of such mappings"
            )
        _refuse_empty(mapping, f"{name}: item {number}")
    return mappings


def _parse(text: str | bytes, what: str) -> Any:
    import yaml  # here, because a dream needs none

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter for what only looks like a date or number: 2001-99-99
        raise ParamsError(f"{what} is not YAML: {error}") from None


def _refuse_empty(cells: Cells, place: str) -> None:
    for name, cell in cells.items():
        if cell == []:
            raise ParamsError(f"{place}: {name}: {EMPTY}")


def parse_setting(text: str) -> tuple[str, Any]:
    """`NAME=VALUE`, VALUE being YAML: `octaves=[3,4]` is a list, `objective=inception4c:1,2` is one text.

    Raises:
        ParamsError: if there is no `=`, VALUE is not YAML, or it is an empty list.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ParamsError(f"--set {text!r}: NAME=VALUE is needed, such as octaves=4 or octaves=[3,4]")
    cell = _parse(value, f"--set {text!r}: {value!r}")
    _refuse_empty({name.strip(): cell}, f"--set {text!r}")
    return name.strip(), cell


def merge_settings(settings: list[str]) -> dict[str, Any]:
    """Several `NAME=VALUE` as one mapping; the last of a name wins."""
    return dict(parse_setting(setting) for setting in settings)
