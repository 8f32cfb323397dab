"""Builds a manifest from files, folders and S3 prefixes; streams, so that a million files stay flat in memory."""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from dreamjobs import grid
from dreamjobs.errors import DreamjobsError, ImageError, InputError, NotFoundError, ParamsError
from dreamjobs.images import EXTENSIONS, is_picture, probe
from dreamjobs.manifest.columns import SOURCE_FIELDS, param_type
from dreamjobs.manifest.select import Selection, spread
from dreamjobs.params import make_params, names_file
from dreamjobs.storage import ObjectInfo, Store, join_url, open_store, split_url

_ROWS_A_GROUP = 8192
_PROBE_BYTES = 256 * 1024
_PROBES = 16
_TOLD = 5

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


@dataclass
class _Passed:
    """Counts photographs found and files passed over, and keeps what is said of the first photographs among them."""

    found: int = 0
    count: int = 0
    unusable: tuple[str, ...] = ()

    def add(self, reason: str = "") -> None:
        self.count += 1
        if reason and len(self.unusable) < _TOLD:
            self.unusable += (reason,)


@dataclass(frozen=True)
class _Found:
    """One photograph: how the manifest names it, and where it is."""

    image: str
    store: Store
    info: ObjectInfo


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
    passed = _Passed()
    chosen = _chosen(sources, place.base, passed, _Ways(sizes, clips, selection or Selection()))
    photographs = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "manifest.parquet")
        with _Writer(path, mappings) as writer:
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
        with _Writer(path, mappings) as writer:
            for image, mapping in zip(rows, mappings, strict=True):
                writer.add_one({"image": image}, mapping)
        open_store(place.base).put_file(place.key, path)


@dataclass(frozen=True)
class _Ways:
    """How photographs are looked at: as `build` is told."""

    sizes: bool
    clips: bool
    selection: Selection


def _chosen(sources: list[str], base: str, passed: _Passed, ways: _Ways) -> Iterator[dict[str, Any]]:
    """The rows of the photographs that are selected, whose headers alone are read if the condition allows that."""
    condition = ways.selection.condition
    if condition.takes_sizes and (ways.clips or not ways.sizes):
        raise InputError("--where compares width or height, which are not read with --no-sizes or --clips")
    if ways.clips:
        return _sample(filter(condition.holds, _counted(_clips(sources, base), passed)), ways.selection, _image)
    found = _counted(_find(sources, base, passed), passed)
    if condition.takes_sizes:
        return _sample(filter(condition.holds, _sized(found, ways.sizes)), ways.selection, _image)
    held = (item for item in found if condition.holds(_row(item)))
    return _sized(_sample(held, ways.selection, lambda item: item.image), ways.sizes)


def _image(row: Mapping[str, Any]) -> str:
    return str(row["image"])


def _sample(items: Iterator[_Item], selection: Selection, name_of: Callable[[_Item], str]) -> Iterator[_Item]:
    return items if selection.sample is None else spread(items, selection.sample, selection.seed, name_of)


def _counted(items: Iterator[_Item], passed: _Passed) -> Iterator[_Item]:
    for item in items:
        passed.found += 1
        yield item


def _nothing(sources: list[str], passed: _Passed) -> str:
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
        return _name(os.getcwd(), checked, base)
    return checked


def _clips(sources: list[str], base: str) -> Iterator[dict[str, Any]]:
    for source in sources:
        root = source.rstrip("/")
        store = open_store(root)
        if not any(is_picture(info.key) for info in store.list()):
            raise NotFoundError(f"{source!r} is no folder with frames: it holds no picture")
        yield {"image": (root if "://" in root else _name(os.getcwd(), root, base)) + "/"}


def _find(sources: list[str], base: str, passed: _Passed) -> Iterator[_Found]:
    for source in sources:
        yield from _find_in(source, base, passed)


def _find_in(source: str, base: str, passed: _Passed) -> Iterator[_Found]:
    """A single object if there is one of that name, else all photographs below it."""
    if not source.endswith("/") and (alone := _alone(source)):
        yield _Found(_name(alone.store.url, alone.info.key, base), alone.store, alone.info)
        return
    store = open_store(source.rstrip("/") if "://" not in source else source)
    if "://" not in source and not os.path.isdir(source):
        raise NotFoundError(f"there is no file or folder {source!r}")
    for info in store.list():
        if not is_picture(info.key):
            passed.add()
            continue
        try:
            name = _name(store.url, info.key, base)
        except InputError as error:  # one bad name among a million is no reason to list none
            passed.add(str(error))
        else:
            yield _Found(name, store, info)


def _alone(source: str) -> _Found | None:
    try:
        parts = split_url(source)
    except InputError:  # a bare bucket names no object
        return None
    store = open_store(parts.base)
    info = store.info(parts.key)
    return _Found(source, store, info) if info else None


def _name(root: str, key: str, base: str) -> str:
    """`s3://...` as it is; a local path relative to the manifest's folder, absolute if that is on S3."""
    if root.startswith("s3://"):
        return join_url(root, key)
    path = os.path.join(root, key)
    if not _is_utf8(path):
        raise InputError(f"the name {path!r} is not UTF-8, so no manifest can hold it; rename the file")
    return path if base.startswith("s3://") else os.path.relpath(path, base)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sized(found: Iterator[_Found], sizes: bool) -> Iterator[dict[str, Any]]:
    """A row for each photograph, in order; headers are read by a few threads, a few photographs ahead."""
    if not sizes:
        yield from (_row(item) for item in found)
        return
    with ThreadPoolExecutor(_PROBES) as pool:
        ahead: deque[Future[dict[str, Any]]] = deque()
        for item in found:
            ahead.append(pool.submit(_row_with_size, item))
            if len(ahead) >= 4 * _PROBES:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _row(found: _Found) -> dict[str, Any]:
    kind, _, version = found.info.version.partition(":")
    return {
        "image": found.image,
        "size_bytes": found.info.size_bytes,
        "etag": version if kind == "etag" else None,
        "mtime": int(version) if kind == "mtime" else None,
    }


def _row_with_size(found: _Found) -> dict[str, Any]:
    """The size is left out where the header does not tell it; the run says then what is wrong with the file."""
    row = _row(found)
    try:
        size = probe(found.store.get_range(found.info.key, 0, _PROBE_BYTES))
    except (ImageError, DreamjobsError):
        size = None
    return row | ({"width": size.width, "height": size.height} if size else {})


class _Writer:
    """Writes rows to a Parquet file, a row group at a time."""

    def __init__(self, path: str, mappings: list[dict[str, Any]]) -> None:
        self._mappings = mappings
        self._schema = _schema(mappings)
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._file.close()

    def add(self, row: dict[str, Any]) -> None:
        for mapping in self._mappings:
            self.add_one(row, mapping)

    def add_one(self, row: dict[str, Any], mapping: dict[str, Any]) -> None:
        self._rows.append(row | {name: self._cell(name, value) for name, value in mapping.items()})
        if len(self._rows) >= _ROWS_A_GROUP:
            self._flush()

    def _cell(self, name: str, value: Any) -> Any:
        kind = self._schema.field(name).type
        is_list = pa.types.is_list(kind)
        text = pa.types.is_string(kind.value_type if is_list else kind)
        items = value if isinstance(value, list) else [value]
        values = [str(item) if text and item is not None else item for item in items]
        return values if is_list else values[0]

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


def _schema(mappings: list[dict[str, Any]]) -> pa.Schema:
    """The source's columns, then a column for each parameter: a list if any mapping gives one."""
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    fields = list(SOURCE_FIELDS)
    for name in names:
        is_axis = any(isinstance(mapping.get(name), list) for mapping in mappings)
        fields.append(pa.field(name, pa.list_(param_type(name)) if is_axis else param_type(name)))
    return pa.schema(fields)
