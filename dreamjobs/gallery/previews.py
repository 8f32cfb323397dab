"""Small copies for the page: a thumbnail of every picture, a larger preview of every photograph; WebP, without EXIF.

Each is made once: a thumbnail is named by the hash of its picture's bytes, a preview by the photograph's name, size
and version. What cannot be read has none, and ends nothing.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from dreamjobs import images
from dreamjobs.errors import DreamjobsError, NotFoundError
from dreamjobs.gallery.data import Row, is_video
from dreamjobs.jobs import NO_PHOTOGRAPH
from dreamjobs.storage import Store, join_url, read_url

THUMBNAIL_SIDE, PHOTOGRAPH_SIDE = 320, 1200
_QUALITY = 82
_PIXELS_AT_ONCE = 150_000_000  # decoded, all threads together: 12 bytes each, and half as much again on the way
_MOST_THREADS = 8

OnMade = Callable[[int], None]


@dataclass(frozen=True)
class Preview:
    """One to be there: its key, what reads the file it is made from, and its longer side in pixels."""

    key: str
    read: Callable[[], bytes]
    side: int


def thumbnail_key(folder: str, sha256: str) -> str:
    """Where the thumbnail of the picture of these bytes stands."""
    return f"{folder}thumbs/{sha256}.webp"


def thumbnails(folder: str, run: Store, rows: Iterable[Row]) -> dict[str, Preview]:
    """A thumbnail of each picture, by the picture's hash."""
    return {
        row["sha256"]: Preview(thumbnail_key(folder, row["sha256"]), _reader(run, row), THUMBNAIL_SIDE) for row in rows
    }


def photographs(folder: str, base: str, rows: Iterable[Row]) -> dict[str, Preview]:
    """A preview of each photograph, by its name; noise and clips have none. Relative names start from `base`."""
    latest = {row["image"]: row for row in rows if not row["image"].startswith(NO_PHOTOGRAPH)}
    return {
        image: Preview(_photograph_key(folder, row), _photograph_reader(base, image), PHOTOGRAPH_SIDE)
        for image, row in latest.items()
        if not image.endswith("/")
    }


def make(site: Store, wanted: Collection[Preview], there: Collection[str], pixels: int, on_made: OnMade) -> set[str]:
    """Make those previews whose keys are not `there` yet; returns the keys of all that there are now.

    `pixels` is the size of the largest picture, which bounds how many are decoded at once.
    """
    missing = [preview for preview in wanted if preview.key not in there]
    threads = max(1, min(_MOST_THREADS, os.cpu_count() or 1, _PIXELS_AT_ONCE // max(1, pixels)))
    made = set()
    with ThreadPoolExecutor(threads) as pool:
        for number, key in enumerate(pool.map(lambda preview: _make(site, preview), missing), start=1):
            made.update([key] if key else [])
            on_made(number)
    return made | {preview.key for preview in wanted if preview.key in there}


def copy_pictures(run: Store, site: Store, rows: Sequence[Row]) -> None:
    """Put the pictures into the site, those apart that are there in the same size: a job's bytes do not change."""
    there = {info.key: info.size_bytes for info in site.list("images/")}
    missing = [row["output"] for row in rows if there.get(row["output"]) != row["size_bytes"]]
    with ThreadPoolExecutor(_MOST_THREADS) as pool:
        list(pool.map(lambda key: _copy(run, site, key), missing))


def shrunk(data: bytes, side: int) -> bytes:
    """A picture's file as WebP with its longer side at most `side`, and nothing of the camera in it.

    Raises:
        ImageError: for bytes that are no picture.
    """
    photo = images.fit(images.decode(data), side)
    return images.encode(replace(photo, exif=None), format="webp", quality=_QUALITY, recipe={})


def _make(site: Store, preview: Preview) -> str | None:
    try:
        data = shrunk(preview.read(), preview.side)
    except (DreamjobsError, OSError):
        return None
    site.put(preview.key, data)
    return preview.key


def _copy(run: Store, site: Store, key: str) -> None:
    try:
        data = run.get(key)
    except NotFoundError:
        return  # the page shows its place empty; `dreamjobs verify` tells of it
    site.put(key, data)


def _reader(run: Store, row: Row) -> Callable[[], bytes]:
    output: str = row["output"]
    if not is_video(row):
        return lambda: run.get(output)
    return lambda: run.get(_poster(run, output))


def _poster(run: Store, output: str) -> str:
    """The picture in the middle of a sequence, where its frames are still there; else the video itself."""
    folder = "frames/" + output.removeprefix("images/").rpartition(".")[0] + "/"
    frames = [info.key for info in run.list(folder)]
    return frames[len(frames) // 2] if frames else output


def _photograph_reader(base: str, image: str) -> Callable[[], bytes]:
    return lambda: read_url(join_url(base, image))


def _photograph_key(folder: str, row: Row) -> str:
    identity = f"{row['image']}\0{row['source_size_bytes']}\0{row['source_version']}"
    return f"{folder}photographs/{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.webp"
