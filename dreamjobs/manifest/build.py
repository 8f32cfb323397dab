"""Builds a manifest from files, folders and S3 prefixes; streams, so that a million files stay flat in memory."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dreamjobs import grid
from dreamjobs.errors import InputError, NotFoundError, ParamsError
from dreamjobs.images import EXTENSIONS
from dreamjobs.manifest.find import Passed, as_row, as_rows, clips, find, image_name
from dreamjobs.manifest.select import Selection, spread
from dreamjobs.manifest.write import Writer
from dreamjobs.params import make_params, names_file
from dreamjobs.storage import open_store, split_url

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Built:
    """What a manifest was built from: photographs, rows (a photograph times the grid's mappings), files passed over.

    `unusable` says of the first photographs among those passed over what is wrong with them, a sentence each.
    `left_out` counts the photographs that were found but not selected.
    """

    photographs: int
    rows: int
    skipped: int
    unusable: tuple[str, ...] = ()
    left_out: int = 0


def build(
    sources: list[str],
    out: str,
    mappings: list[dict[str, Any]],
    *,
    sizes: bool = True,
    clips: bool = False,
    selection: Selection | None = None,
    on_photograph: Callable[[int], None] | None = None,
) -> Built:
    """Write the manifest `out` of every photograph under `sources`, a row for each of the grid's `mappings`.

    Local photographs are named relative to the manifest's folder where both are local. `sizes` reads each file's
    header for its width and height; with `clips` each source is a folder of frames, dreamed in order as one sequence. A
    photograph below a folder whose name is not UTF-8 is passed over. Of what is found `selection` takes some; where it
    can, before headers are read. The manifest appears whole or not at all.

    Raises:
        ParamsError: for a bad name or value in the mappings.
        InputError: for a photograph among the sources whose name is not UTF-8, or a condition on width or height
            without `sizes`.
        NotFoundError: for a source that does not exist, holds no photograph, or none that is selected.
    """
    place = split_url(out)
    mappings = [_checked(mapping, place.base) for mapping in mappings or [{}]]
    passed = Passed()
    chosen = _chosen(sources, place.base, passed, _Ways(sizes, clips, selection or Selection()))
    photographs = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "manifest.parquet")
        with Writer(path, mappings) as writer:
            for photographs, row in enumerate(chosen, start=1):
                writer.add(row)
                if on_photograph:
                    on_photograph(photographs)
        if not photographs:
            raise NotFoundError(_nothing(sources, passed))
        open_store(place.base).put_file(place.key, path)
    left_out = passed.found - photographs
    return Built(photographs, photographs * len(mappings), passed.count, passed.unusable, left_out)


def build_rows(out: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the manifest `out` of a row for each image's name, with its own parameters; no image is looked at.

    That is how a manifest of `noise:...` is made, which names no photographs. It appears whole or not at all.

    Raises:
        ParamsError: for a bad name or value among the parameters.
    """
    place = split_url(out)
    mappings = [_checked(mapping, place.base) for mapping in rows.values()]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "manifest.parquet")
        with Writer(path, mappings) as writer:
            for image, mapping in zip(rows, mappings, strict=True):
                writer.add_one({"image": image}, mapping)
        open_store(place.base).put_file(place.key, path)


@dataclass(frozen=True)
class _Ways:
    """How photographs are looked at: as `build` is told."""

    sizes: bool
    clips: bool
    selection: Selection


def _chosen(sources: list[str], base: str, passed: Passed, ways: _Ways) -> Iterator[dict[str, Any]]:
    """The rows of the photographs that are selected, whose headers alone are read if the condition allows that."""
    condition = ways.selection.condition
    if condition.takes_sizes and (ways.clips or not ways.sizes):
        raise InputError("--where compares width or height, which are not read with --no-sizes or --clips")
    if ways.clips:
        return _sample(filter(condition.holds, _counted(clips(sources, base), passed)), ways.selection, _image)
    found = _counted(find(sources, base, passed), passed)
    if condition.takes_sizes:
        return _sample(filter(condition.holds, as_rows(found, sizes=ways.sizes)), ways.selection, _image)
    held = (item for item in found if condition.holds(as_row(item)))
    return as_rows(_sample(held, ways.selection, lambda item: item.image), sizes=ways.sizes)


def _image(row: Mapping[str, Any]) -> str:
    return str(row["image"])


def _sample(items: Iterator[_Item], selection: Selection, name_of: Callable[[_Item], str]) -> Iterator[_Item]:
    return items if selection.sample is None else spread(items, selection.sample, selection.seed, name_of)


def _counted(items: Iterator[_Item], passed: Passed) -> Iterator[_Item]:
    for item in items:
        passed.found += 1
        yield item


def _nothing(sources: list[str], passed: Passed) -> str:
    if passed.found:
        return f"none of the {passed.found:,} photographs in {', '.join(sources)} satisfies --where"
    found = f"no photograph in {', '.join(sources)} ({passed.count} other files)"
    return "; ".join([found, *passed.unusable, f"looked for {', '.join(sorted(EXTENSIONS))}"])


def _checked(mapping: Mapping[str, Any], base: str) -> dict[str, Any]:
    """The mapping, every value of it valid, weights files named so that the manifest's reader finds them."""
    cells = {name: _cell(name, cell, base) for name, cell in mapping.items()}
    return {name: cell for name, cell in cells.items() if cell is not None}


def _cell(name: str, cell: Any, base: str) -> Any:
    if cell == []:
        raise ParamsError(f"{name}: {grid.EMPTY}")
    return [_value(name, value, base) for value in cell] if isinstance(cell, list) else _value(name, cell, base)


def _value(name: str, value: Any, base: str) -> Any:
    params = make_params({name: value})
    if value is None or name == "preset":
        return value
    checked = getattr(params, name)
    if name == "weights" and names_file(checked) and "://" not in checked:
        return image_name(os.getcwd(), checked, base)
    return checked
