"""Every key under a RUN."""

import re
import unicodedata

from dreamjobs.jobs.job import Job
from dreamjobs.params import DreamParams


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
