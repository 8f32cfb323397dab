"""A folder of frames as one image: `clip/` in a manifest is a sequence of photographs, dreamed in order."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from dreamjobs import images
from dreamjobs.errors import ImageError
from dreamjobs.jobs import Job
from dreamjobs.storage import open_store


@dataclass(frozen=True)
class Clip:
    """The urls of a clip's frames in order, and a digest that tells one version of them from another."""

    frames: tuple[str, ...]
    digest: str


def is_clip(job: Job) -> bool:
    """Whether a job's image is a folder of frames."""
    return job.source.is_folder


def find_clip(url: str) -> Clip:
    """The frames in a folder, in the order of their numbers: `frame10` comes after `frame9`.

    Raises:
        ImageError: if there is none.
    """
    folder = open_store(url.rstrip("/"))
    found = {info.key: info for info in folder.list() if images.is_picture(info.key)}
    if not found:
        raise ImageError(f"{url!r} holds no picture; an image that ends with / is a folder of frames")
    keys = sorted(found, key=_by_number)
    versions = "".join(f"{key} {found[key].size_bytes} {found[key].version}\n" for key in keys)
    return Clip(tuple(f"{url}{key}" for key in keys), hashlib.sha256(versions.encode()).hexdigest())


def _by_number(key: str) -> list[Any]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", key)]
