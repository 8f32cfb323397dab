"""Small copies for the page: a thumbnail of every picture, a larger preview of every photograph; WebP, without EXIF.

Each is made once: a thumbnail is named by the hash of its picture's bytes, a preview by the photograph's name, size
and version. What cannot be read has none, is told, and ends nothing. Whatever makes one reads and writes storage
itself, so that it may be another process or machine.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from dreamjobs import images
from dreamjobs.errors import DreamjobsError, NotFoundError
from dreamjobs.gallery.data import Row, is_video
from dreamjobs.gallery.threads import MOST_THREADS, Each
from dreamjobs.jobs import NO_PHOTOGRAPH
from dreamjobs.storage import Store, join_url, read_url

THUMBNAIL_SIDE, PHOTOGRAPH_SIDE = 320, 1200
_QUALITY = 82
_BYTES_A_PIXEL = 18  # 12 decoded, and half as much again on the way
_REDUCED_TO = 2  # times its side, a JPEG may be decoded smaller than it is

OnMade = Callable[[int], None]


@dataclass(frozen=True)
class Preview:
    """One to be there: its key, the name of what it shows, what reads that, and its longer side in pixels."""

    key: str
    name: str
    read: Callable[[], bytes]
    side: int


@dataclass(frozen=True)
class Made:
    """The keys of the previews that there are, and why others are not, a line each."""

    keys: frozenset[str]
    failed: tuple[str, ...]


def thumbnail_key(folder: str, sha256: str) -> str:
    """Where the thumbnail of the picture of these bytes stands."""
    return f"{folder}thumbs/{sha256}.webp"


def thumbnails(folder: str, run: Store, rows: Iterable[Row]) -> dict[str, Preview]:
    """A thumbnail of each picture, by the picture's hash."""
    return {
        row["sha256"]: Preview(
            thumbnail_key(folder, row["sha256"]), row["output"], _picture_reader(run, row), THUMBNAIL_SIDE
        )
        for row in rows
    }


def photographs(folder: str, base: str, rows: Iterable[Row]) -> dict[str, Preview]:
    """A preview of each photograph, by its name; noise and clips have none. Relative names start from `base`."""
    latest = {row["image"]: row for row in rows if not row["image"].startswith(NO_PHOTOGRAPH)}
    return {
        image: Preview(_photograph_key(folder, row), image, partial(_photograph, base, image), PHOTOGRAPH_SIDE)
        for image, row in latest.items()
        if not image.endswith("/")
    }


def make(
    site: Store, wanted: Collection[Preview], there: Collection[str], *, pixels: int, each: Each, on_made: OnMade
) -> Made:
    """Make those previews whose keys are not `there` yet.

    `pixels` is the size of the largest picture, which bounds how many are decoded at once. `on_made` is told how many
    were dealt with.
    """
    keys, failed = {preview.key for preview in wanted if preview.key in there}, []
    missing = [preview for preview in wanted if preview.key not in keys]
    outcomes = each(partial(_make, site), missing, memory_bytes=pixels * _BYTES_A_PIXEL)
    for number, (preview, outcome) in enumerate(outcomes, start=1):
        reason = str(outcome)  # a process that died has one too
        if reason:
            failed.append(f"{preview.name}: {reason}")
        else:
            keys.add(preview.key)
        on_made(number)
    return Made(frozenset(keys), tuple(failed))


def copy_pictures(run: Store, site: Store, rows: Sequence[Row]) -> None:
    """Put the pictures into the site, those apart that are there in the same size: a job's bytes do not change."""
    there = {info.key: info.size_bytes for info in site.list("images/")}
    missing = [row["output"] for row in rows if there.get(row["output"]) != row["size_bytes"]]
    with ThreadPoolExecutor(MOST_THREADS) as pool:
        list(pool.map(lambda key: _copy(run, site, key), missing))


def shrunk(data: bytes, side: int) -> bytes:
    """A picture's file as WebP with its longer side at most `side`, and nothing of the camera in it.

    Raises:
        ImageError: for bytes that are no picture.
    """
    photo = images.fit(images.decode(data, least_side=_REDUCED_TO * side), side)
    return images.encode(replace(photo, exif=None), format="webp", quality=_QUALITY, recipe={})


def _make(site: Store, preview: Preview) -> str:
    """Why it could not be made; nothing if it was. One that takes more memory than there is must not end the others."""
    try:
        site.put(preview.key, shrunk(preview.read(), preview.side))
    except (DreamjobsError, OSError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _copy(run: Store, site: Store, key: str) -> None:
    try:
        data = run.get(key)
    except NotFoundError:
        return  # the page shows its place empty; `dreamjobs verify` tells of it
    site.put(key, data)


def _picture_reader(run: Store, row: Row) -> Callable[[], bytes]:
    return partial(_poster, run, row["output"]) if is_video(row) else partial(run.get, row["output"])


def _poster(run: Store, output: str) -> bytes:
    """The picture in the middle of a sequence, where its frames are still there; else the video itself."""
    folder = "frames/" + output.removeprefix("images/").rpartition(".")[0] + "/"
    frames = [info.key for info in run.list(folder)]
    return run.get(frames[len(frames) // 2] if frames else output)


def _photograph(base: str, image: str) -> bytes:
    return read_url(join_url(base, image))


def _photograph_key(folder: str, row: Row) -> str:
    identity = f"{row['image']}\0{row['source_size_bytes']}\0{row['source_version']}"
    return f"{folder}photographs/{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.webp"
