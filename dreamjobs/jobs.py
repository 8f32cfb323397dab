"""Jobs, their identity, and every key under a RUN.

A job is one photograph and one point of its grid. Its id is a hash of what decides the picture: the source's name,
size and version, the parameters, the weights' digest and the algorithm's version. Whatever a run writes for a job
stands at a key that follows from the job alone, so that a repeated job writes the same bytes to the same place.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any

from dreamjobs import objectives
from dreamjobs.errors import ParamsError
from dreamjobs.params import DreamParams

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
        sides, longer = self._sides(), self.params.octave_sizes
        if sides is None:
            return 16_000_000
        largest = max(sides)
        scale = int(longer.split()[-1]) / largest if longer else min(1.0, (self.params.max_side or 10**9) / largest)
        return max(1, round(sides[0] * sides[1] * scale**2))

    def _sides(self) -> tuple[int, int] | None:
        if self.params.start in ("noise", "natural") and self.params.size:
            height, _, width = self.params.size.partition("x")
            return int(height), int(width or height)
        source = self.source
        return (source.height, source.width) if source.width and source.height else None


@dataclass(frozen=True)
class Seconds:
    """Wall time of a job's stages."""

    fetch: float = 0.0
    decode: float = 0.0
    dream: float = 0.0
    encode: float = 0.0
    put: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a stage failed: the exception's type and message, and whether another attempt may end otherwise."""

    type: str
    message: str
    retryable: bool
    traceback: str = ""


@dataclass(frozen=True)
class Artifact:
    """The picture that a job wrote: its key under RUN, what it is, and how it was made.

    `node` and `actor` are the machine and the process that dreamed it. `overlap_error` is the relative error of its
    gradient where tiles saw less than the net does.
    """

    key: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    source_width: int
    source_height: int
    objective: tuple[float, ...]
    seconds: Seconds
    device: str
    node: str
    actor: str
    overlap_error: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with an artifact or with a failure, after so many attempts."""

    job: Job
    attempts: int
    finished: datetime
    artifact: Artifact | None = None
    failure: Failure | None = None

    @property
    def status(self) -> str:
        return "done" if self.artifact else "failed"


@dataclass(frozen=True)
class Summary:
    """What a run did: counts of jobs, why they were run, and the wall time.

    `left` counts what it was to do and did not, `beyond` what its limit kept it from.
    """

    jobs: int
    done: int
    failed: int
    done_before: int
    failed_before: int
    left: int
    reasons: dict[str, int]
    seconds: float
    beyond: int = 0


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


class Keys:
    """Every key under a RUN."""

    RUN = "run.json"
    MANIFEST = "manifest.parquet"
    GALLERY = "gallery/index.html"
    IMAGES = "images/"
    RESULTS = "results/"

    @staticmethod
    def picture(job: Job, extension: str) -> str:
        """`images/<the source's folders>/<name>--<slug>-<id8>.<ext>`, whatever the source's name is made of."""
        folders, name = _clean_path(job.source.image)
        stem = _shorten(name.rpartition(".")[0] or name, _STEM_BYTES)
        return "/".join(["images", *folders, f"{stem}--{_slug(job.params)}-{job.id[:8]}.{extension}"])

    @staticmethod
    def frames(job: Job) -> str:
        """The folder of a sequence's pictures: `frames/<name>--<slug>-<id8>/`."""
        folders, name = _clean_path(job.source.image)
        stem = _shorten(name.rpartition(".")[0] or name, _STEM_BYTES)
        return "/".join(["frames", *folders, f"{stem}--{_slug(job.params)}-{job.id[:8]}/"])

    @staticmethod
    def frame(job: Job, number: int) -> str:
        """A picture of a sequence; numbers begin at 1."""
        return f"{Keys.frames(job)}{number:06d}.png"

    @staticmethod
    def checkpoint(job: Job) -> str:
        """What a long dream has come to, until its picture is stored."""
        return f"checkpoints/{job.id}.safetensors"

    @staticmethod
    def tiles(job: Job) -> str:
        """The folder of what the tiles of a long fanned-out dream have come to, until its picture is stored."""
        return f"checkpoints/{job.id}/"

    @staticmethod
    def tile(job: Job, number: int, index: int, extension: str) -> str:
        """A tile in a round of a fanned-out picture."""
        return f"{Keys.tiles(job)}{number:05d}-{index:06d}.{extension}"

    @staticmethod
    def results_part(shard: str, stamp: str, number: int) -> str:
        """A part of the results: which shard wrote it, when its run began, and its number in that run."""
        return f"results/{shard}-{stamp}-{number:06d}.parquet"


_FOLDER_BYTES, _FOLDERS_BYTES, _STEM_BYTES, _SLUG_LENGTH = 100, 500, 100, 40
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%#\ud800-\udfff]')


def _clean_path(image: str) -> tuple[list[str], str]:
    """Folders and file name with nothing in them that climbs out of a folder or that a file system refuses."""
    parts = [part for part in image.removeprefix("s3://").replace("\\", "/").split("/") if part not in ("", ".", "..")]
    cleaned = [_clean(part) for part in parts] or ["_"]
    folders = [_shorten(part, _FOLDER_BYTES) for part in cleaned[:-1]]
    while sum(len(part.encode()) for part in folders) > _FOLDERS_BYTES:
        folders.pop(0)
    return folders, cleaned[-1]


def _clean(part: str) -> str:
    text = _UNSAFE.sub("_", unicodedata.normalize("NFC", part)).strip(" ")
    text = text.rstrip(".") or "_"
    return "_" + text[1:] if text.startswith(".") else text


def _shorten(text: str, limit_bytes: int) -> str:
    return text.encode()[:limit_bytes].decode(errors="ignore").rstrip(" .") or "_"


def _slug(params: DreamParams) -> str:
    """The objective and what differs from the defaults, for a person's eye; the id tells pictures apart."""
    changes = {name: value for name, value in params.changes().items() if name not in _NOT_IN_SLUG}
    parts = [params.objective] + [f"{name.replace('_', '')}{value}" for name, value in changes.items()]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts))[:_SLUG_LENGTH].strip("-.")


_NOT_IN_SLUG = {"objective", "weights", "max_side", "format", "quality", "threads", "tile_size", "overlap"}
