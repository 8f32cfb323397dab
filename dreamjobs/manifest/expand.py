"""Expands rows into jobs, or into their ids alone; what rows share, the points of their grids, is made once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dreamjobs import grid
from dreamjobs.jobs import NO_PHOTOGRAPH, Job, NamedFile, PointIdentity, Source, SourceIdentity, file_names
from dreamjobs.manifest.columns import whole
from dreamjobs.manifest.read import Row
from dreamjobs.params import DreamParams, make_params, names_file
from dreamjobs.storage import join_url

_POINTS_KEPT = 10_000  # some 30 MB

DigestOf = Callable[[str, str], str]
"""(net, weights) -> the digest of the weights."""


@dataclass(frozen=True)
class Known:
    """What stands behind the names in parameters: digests of weights, and files by name.

    `trusted` are the nets that may name code, because the command line and not the manifest named them.
    """

    digest_of: DigestOf
    files: Mapping[str, NamedFile] = field(default_factory=dict)
    trusted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Point:
    """One point of a grid: all of a job but its photograph."""

    params: DreamParams
    weights_digest: str
    files: tuple[NamedFile, ...]
    identity: PointIdentity


class Expander:
    """Makes the jobs of rows, one for each point of a row's grid; `overrides` stand in place of its parameters."""

    def __init__(self, base: str, overrides: Mapping[str, Any], known: Known) -> None:
        self._base, self._overrides, self._known = base, dict(overrides), known
        self._grids: dict[str, tuple[_Point, ...]] = {}
        self._kept = 0

    def jobs(self, row: Row) -> Iterator[Job]:
        """The row's jobs, in the order of its grid."""
        source, meta, own = _source(row, self._base), row.meta, _identity(row)
        for point in self._points(row):
            known_id = point.identity.digest(own).hex()
            yield Job(row.number, source, point.params, point.weights_digest, meta, point.files, known_id)

    def ids(self, row: Row) -> list[bytes]:
        """The ids of the row's jobs, in the same order, 16 bytes each."""
        own = _identity(row)
        return [point.identity.digest(own) for point in self._points(row)]

    def _points(self, row: Row) -> Iterable[_Point]:
        """The points of the row's grid: kept for rows that have the same, made as they are taken if many."""
        cells = row.params | self._overrides
        key = repr(cells)  # tells 1 from 1.0 and True, which are equal
        if key in self._grids:
            return self._grids[key]
        points, count = (self._point(point) for point in grid.points(cells)), grid.count(cells)
        if count > _POINTS_KEPT:
            return points
        if self._kept + count > _POINTS_KEPT:
            self._grids.clear()
            self._kept = 0
        self._kept += count
        self._grids[key] = tuple(points)
        return self._grids[key]

    def _point(self, point: Mapping[str, Any]) -> _Point:
        params = point_params(point, self._base, self._known.trusted)
        files = tuple(self._known.files[name] for name in file_names(params))
        digest = self._known.digest_of(params.net, params.weights)
        return _Point(params, digest, files, PointIdentity.of(params, digest, files))


def point_params(point: Mapping[str, Any], base: str, trusted: frozenset[str]) -> DreamParams:
    """Parameters of one point; a weights file's path is taken relative to `base`."""
    weights = point.get("weights")
    if isinstance(weights, str) and names_file(weights):
        point = {**point, "weights": join_url(base, weights)}
    return make_params(point, trusted=point.get("net") in trusted)


def _identity(row: Row) -> SourceIdentity:
    return SourceIdentity.of(row.cells["image"], whole(row.cells.get("size_bytes")), _version(row))


def _version(row: Row) -> str:
    cells = row.cells
    mtime = f"mtime:{whole(cells['mtime'])}" if "mtime" in cells else ""
    return f"etag:{cells['etag']}" if "etag" in cells else mtime


def _source(row: Row, base: str) -> Source:
    cells = row.cells
    image, size_bytes = cells["image"], whole(cells.get("size_bytes"))
    place, version = _place(image, base), _version(row)
    return Source(image, place, size_bytes, version, whole(cells.get("width")), whole(cells.get("height")))


def _place(image: str, base: str) -> str:
    """Where an image is: a file, a folder of frames if it ends with `/`, or nowhere."""
    if image.startswith(NO_PHOTOGRAPH):
        return image
    return join_url(base, image.rstrip("/")) + ("/" if image.endswith("/") else "")
