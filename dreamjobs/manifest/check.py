"""Checks a whole manifest before anything is dreamed: one error that lists every bad row."""

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dreamjobs import fanout, grid
from dreamjobs.errors import DreamjobsError, InputError, ManifestError, ParamsError
from dreamjobs.jobs import NO_PHOTOGRAPH, check_photograph
from dreamjobs.manifest.columns import WHOLE_NAMES, whole
from dreamjobs.manifest.expand import point_params
from dreamjobs.manifest.read import Manifest, Row
from dreamjobs.params import DreamParams, make_params
from dreamjobs.storage import join_url

_LISTED = 50
# What a net, its weights and files are loaded for; of what is fanned out, no layer may see the whole picture.
_LOADED = ("preset", "net", "weights", "labels", "objective", "mask", "fan_out_mpx")
_FANNED = ("preset", *fanout.PARAMETERS)
_STARTED = ("preset", "start", "size")  # what says whether a photograph is needed

Judge = Callable[[DreamParams], None]
"""Raises a DreamjobsError if these parameters cannot be used."""


@dataclass(frozen=True)
class Checked:
    """What a sound manifest asks for."""

    jobs: int
    threads: int


def check(
    manifest: Manifest, overrides: Mapping[str, Any], net_check: Judge, trusted: frozenset[str] = frozenset()
) -> Checked:
    """Count the jobs of a manifest and the most threads any of them asks for; each distinct value is checked once.

    `net_check` says whether the net, the weights and the objective of some parameters can be used.

    Raises:
        ManifestError: listing every bad row by number, with the column, the value and what is allowed.
        ParamsError: for a bad value among the overrides.
    """
    checker = _Checker(manifest.base, overrides, net_check, trusted)
    checker.check_overrides()
    jobs, threads, bad = 0, 1, _Listing()
    for row in manifest.read():
        problems = list(checker.problems(row))
        bad.add(row.number, problems)
        if not problems:
            cells = row.params | dict(overrides)
            jobs += grid.count(cells)
            threads = max([threads, *(int(value or 1) for value in _values(cells.get("threads")))])
    bad.raise_if_any(manifest.url)
    return Checked(jobs, threads)


class _Listing:
    """Collects problems by row; only the first are kept, all are counted."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._rows = 0

    def add(self, number: int, problems: list[str]) -> None:
        self._rows += bool(problems)
        if len(self._lines) < _LISTED:
            self._lines += [f"  row {number}: {problem}" for problem in problems]

    def raise_if_any(self, url: str) -> None:
        if self._rows:
            more = [f"  ... {self._rows:,} bad rows in all"] if len(self._lines) >= _LISTED else []
            head = f"{self._rows:,} row(s) of {url!r} cannot be used; nothing was started:"
            raise ManifestError("\n".join([head, *self._lines[:_LISTED], *more]))


class _Checker:
    """Remembers the verdict on each distinct value, so that a million rows cost a million look-ups."""

    def __init__(self, base: str, overrides: Mapping[str, Any], net_check: Judge, trusted: frozenset[str]) -> None:
        self._base, self._overrides, self._net_check, self._trusted = base, overrides, net_check, trusted
        self._values: dict[Hashable, str] = {}
        self._together: dict[Hashable, str] = {}

    def check_overrides(self) -> None:
        problems = [problem for name, cell in self._overrides.items() for problem in self._cell(name, cell)]
        if problems:
            raise ParamsError("; ".join(problems))

    def problems(self, row: Row) -> Iterator[str]:
        """What is wrong with a row, a sentence each."""
        yield from self._image(row.cells.get("image"))
        yield from _source(row.cells)
        params = {name: cell for name, cell in row.params.items() if name not in self._overrides}
        wrong = [problem for name, cell in params.items() for problem in self._cell(name, cell)]
        yield from wrong
        if not wrong:
            cells = params | dict(self._overrides)
            yield from self._combined(_LOADED, cells, self._net_check)
            if cells.get("fan_out_mpx") is not None:
                yield from self._combined(_FANNED, cells, fanout.check_params)
            yield from self._photograph(row.cells.get("image"), cells)

    def _image(self, image: object) -> Iterator[str]:
        if not isinstance(image, str) or not image:
            yield f"image: {image!r} is refused; allowed is a path or an s3:// url"
            return
        if image.startswith(NO_PHOTOGRAPH):
            return
        try:
            join_url(self._base, image)
        except InputError as error:
            yield f"image: {error}"

    def _photograph(self, image: object, cells: Mapping[str, Any]) -> Iterator[str]:
        if not isinstance(image, str) or not image.startswith(NO_PHOTOGRAPH):
            return
        for point in grid.points({name: cells[name] for name in _STARTED if name in cells}):
            try:
                check_photograph(image, make_params(point))
            except ParamsError as error:
                yield str(error)
                return

    def _cell(self, name: str, cell: Any) -> list[str]:
        if cell == []:
            return [f"{name}: {grid.EMPTY}"]
        verdicts = [self._value(name, value) for value in _values(cell)]
        return [verdict for verdict in verdicts if verdict]

    def _value(self, name: str, value: Any) -> str:
        key = (name, type(value), value if isinstance(value, Hashable) else repr(value))
        if key not in self._values:
            self._values[key] = self._verdict({name: value}, lambda params: None)
        return self._values[key]

    def _combined(self, names: tuple[str, ...], cells: Mapping[str, Any], judge: Judge) -> Iterator[str]:
        """What is wrong with the values of some parameters together, at each point of their grid; once each."""
        found: dict[str, None] = {}
        for values in itertools.product(*(_values(cells.get(name)) for name in names)):
            key = (names, values)
            if key not in self._together:
                self._together[key] = self._verdict(dict(zip(names, values, strict=True)), judge)
            found[self._together[key]] = None
        yield from filter(None, found)

    def _verdict(self, point: Mapping[str, Any], judge: Judge) -> str:
        try:
            judge(point_params(point, self._base, self._trusted))
        except DreamjobsError as error:
            return str(error)
        return ""


def _source(cells: Mapping[str, Any]) -> Iterator[str]:
    for name in WHOLE_NAMES:
        if name in cells and whole(cells[name]) is None:
            yield f"{name}: {cells[name]!r} is refused; allowed is a whole number, at least 0 and below 2^63"
    if not isinstance(cells.get("etag", ""), str):
        yield f"etag: {cells['etag']!r} is refused; allowed is text"


def _values(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]
