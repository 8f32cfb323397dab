"""A job: one photograph and one point of its grid, and the id that follows from them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from typing import Any

from dreamjobs import objectives
from dreamjobs.errors import ParamsError
from dreamjobs.params import DreamParams
from dreamjobs.sizes import Size, pixel_steps

ALGORITHM = 1
"""Raised when the same parameters come to give other bytes; part of every job's identity."""


NO_PHOTOGRAPH = "noise:"
"""How the name of an image begins that is no photograph: `noise:anything` is dreamed from noise alone."""


@dataclass(frozen=True)
class NamedFile:
    """A file that parameters name, a mask or a guide: its name there, where it is, and what is in it."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """A photograph: its name in the manifest, where it is, and what tells one version of it from another.

    `version` is `etag:...` or `mtime:...` (nanoseconds), empty where the manifest does not say.
    """

    image: str
    url: str
    size_bytes: int | None = None
    version: str = ""
    width: int | None = None
    height: int | None = None

    @property
    def is_noise(self) -> bool:
        """Whether there is no photograph: the picture is dreamed from noise alone."""
        return self.url.startswith(NO_PHOTOGRAPH)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of frames, a clip."""
        return self.url.endswith("/")


@dataclass(frozen=True)
class Job:
    """One picture to be made. `row` counts the manifest's rows from 1; `known_id` spares hashing where that is done."""

    row: int
    source: Source
    params: DreamParams
    weights_digest: str
    meta: dict[str, Any] = field(default_factory=dict)
    files: tuple[NamedFile, ...] = ()
    known_id: InitVar[str] = ""
    id: str = field(init=False)

    def __post_init__(self, known_id: str) -> None:
        made = known_id or job_id(self.source, self.params, self.weights_digest, self.files)
        object.__setattr__(self, "id", made)

    @property
    def look(self) -> str:
        """Hash of the parameters alone: jobs of one look differ in photograph, weights or algorithm."""
        return look(self.params)

    @property
    def pixels(self) -> int:
        """Pixels of the picture, as far as manifest and parameters say; 16 megapixels where they do not."""
        height, width = self._size()
        return height * width

    @property
    def pixel_steps(self) -> int:
        """Steps times pixels over all octaves, as far as manifest and parameters say; see `pixels`."""
        return pixel_steps(self._size(), self.params)

    def _size(self) -> Size:
        sides, longer = self._sides(), self.params.octave_sizes
        if sides is None:
            return 4000, 4000
        largest = max(sides)
        scale = int(longer.split()[-1]) / largest if longer else min(1.0, (self.params.max_side or 10**9) / largest)
        return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))

    def _sides(self) -> tuple[int, int] | None:
        if self.params.start in ("noise", "natural") and self.params.size:
            height, _, width = self.params.size.partition("x")
            return int(height), int(width or height)
        source = self.source
        return (source.height, source.width) if source.width and source.height else None


def check_photograph(image: str, params: DreamParams) -> None:
    """Raise ParamsError if an image that is no photograph is not to be dreamed from noise of a stated size."""
    if image.startswith(NO_PHOTOGRAPH) and (params.start not in ("noise", "natural") or not params.size):
        raise ParamsError(f"{image!r} is no photograph: set start to noise or natural, and a size")


def file_names(params: DreamParams) -> tuple[str, ...]:
    """The files that parameters name, the weights apart, each once."""
    named = (params.mask, params.labels, *objectives.files(params.objective))
    return tuple(dict.fromkeys(name for name in named if name is not None))


def job_id(source: Source, params: DreamParams, weights_digest: str, files: tuple[NamedFile, ...] = ()) -> str:
    """128 bits in hex over everything that decides the picture; weights and files count by content, not by path."""
    identity = PointIdentity.of(params, weights_digest, files)
    return identity.digest(SourceIdentity.of(source.image, source.size_bytes, source.version)).hex()


@dataclass(frozen=True)
class SourceIdentity:
    """A photograph's part of the text that a job's id is the hash of."""

    image: bytes
    version: bytes

    @classmethod
    def of(cls, image: str, size_bytes: int | None, version: str) -> "SourceIdentity":
        return cls(_json(image), b',"size_bytes":%s,"version":%s' % (_json(size_bytes), _json(version)))


@dataclass(frozen=True)
class PointIdentity:
    """A grid point's part of that text, JSON with sorted keys: made once, it serves every photograph."""

    before: bytes
    params: bytes
    after: bytes

    @classmethod
    def of(cls, params: DreamParams, weights_digest: str, files: Iterable[NamedFile]) -> "PointIdentity":
        hashes = {file.name: file.sha256 for file in files}
        before = b'{"algorithm":%s,"files":%s,"image":' % (_json(ALGORITHM), _json(hashes))
        return cls(before, b',"params":' + _json(_without_weights(params)), b',"weights":%s}' % _json(weights_digest))

    def digest(self, source: SourceIdentity) -> bytes:
        """The id of this point's job with a photograph, 16 bytes."""
        text = b"".join((self.before, source.image, self.params, source.version, self.after))
        return hashlib.sha256(text).digest()[:16]


def look(params: DreamParams) -> str:
    """128 bits in hex over the parameters, the weights' path left out."""
    return hashlib.sha256(_json(_without_weights(params))).hexdigest()[:32]


def _without_weights(params: DreamParams) -> dict[str, Any]:
    return params.model_dump(exclude={"weights"})


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
