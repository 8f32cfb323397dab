"""What lies before and behind the dream: reading, decoding, encoding, and how large a dreamed picture's file is.

Decoding is timed on a few of the manifest's own photographs, encoding on one of them with noise upon it, because a
dream is as rough. Sizes of files follow from pixels: dreams of different photographs and layers are much alike.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dreamjobs import images
from dreamjobs.errors import DreamjobsError
from dreamjobs.estimate.tally import Files, Tally
from dreamjobs.images import Photo, Source
from dreamjobs.jobs import Job, Seconds
from dreamjobs.worker import Work, fetch
from dreamjobs.worker.files import encode_as

# Bytes a pixel by quality: means of 8 dreams (4 of scikit-image's photographs, `mix4b` and `mix8d`, 3 octaves of 10
# steps, 0.1 megapixels each); single pictures differ by up to 25%. Videos: those of a frame, at the writer's quality.
_BYTES_A_PIXEL: dict[str, dict[int, float]] = {
    "jpeg": {60: 0.22, 80: 0.33, 90: 0.67, 95: 0.98, 100: 2.14},
    "png": {100: 2.1},
    "webp": {60: 0.22, 80: 0.30, 90: 0.44, 95: 0.56, 100: 1.94},
    "tiff": {100: 3.01},
    "avif": {60: 0.22, 80: 0.40, 90: 0.64, 95: 0.94, 100: 1.93},
    "heic": {60: 0.42, 80: 0.77, 90: 0.95, 95: 1.02, 100: 1.02},
    "webp video": {100: 0.44},
    "mp4 video": {100: 0.3},
}
_SIDE, _NOISE = 512, 0.08
_FRAMES = 3
_PUT_S = 0.02
_DECODE_S = 0.05  # a megapixel, where no photograph could be tried


@dataclass(frozen=True)
class Ends:
    """Seconds a file fetched and put, and a megapixel decoded and encoded; bytes a pixel written."""

    fetch_s: float = 0.0
    put_s: float = _PUT_S
    decode_s: Mapping[str, float] = field(default_factory=dict)
    encode_s: Mapping[tuple[str, int], float] = field(default_factory=dict)
    bytes_a_pixel: Mapping[str, float] = field(default_factory=dict)
    frame_s: float = 0.0


def bytes_a_pixel(format: str, quality: int) -> float:  # noqa: A002  # the word for it
    """Bytes a pixel of a dreamed picture's file, between the qualities that were measured on a line."""
    known = _BYTES_A_PIXEL[format]
    return float(np.interp(quality, list(known), list(known.values())))


def measure_ends(tally: Tally) -> Ends:
    """Ends timed here and now, each format for itself, for the files of a tally."""
    works = {kind: _fetched(files) for kind, files in tally.read.items()}
    every = [work for found in works.values() for work in found]
    photo = _rough(every[0].little or every[0].photo if every else None)  # the first: all of the other may be far away
    encode_s = {key: _encode_s(files.examples[0], key[0], photo) for key, files in tally.written.items()}
    sequences = any(group.amounts[3] for group in tally.groups.values())
    return Ends(
        fetch_s=float(np.mean([work.seconds.fetch for work in every])) if every else 0.0,
        decode_s={kind: _decode_s(found) for kind, found in works.items() if found},
        encode_s=encode_s,
        frame_s=_frame_s(next(iter(tally.written.values())).examples[0], photo) if sequences else 0.0,
    )


def read_s(ends: Ends, tally: Tally) -> float:
    """Seconds of fetching and decoding, one after another."""
    return sum(
        files.count * ends.fetch_s + files.megapixels * ends.decode_s.get(kind, _DECODE_S)
        for kind, files in tally.read.items()
    )


def write_s(ends: Ends, tally: Tally) -> float:
    """Seconds of encoding and putting, one after another."""
    return sum(
        files.count * ends.put_s + files.megapixels * ends.encode_s.get(key, 0.0)
        for key, files in tally.written.items()
    )


def bytes_out(ends: Ends, tally: Tally) -> int:
    """The size of all files written."""
    ratios = {key: ends.bytes_a_pixel.get(key[0], bytes_a_pixel(*key)) for key in tally.written}
    return round(sum(files.megapixels * 1e6 * ratios[key] for key, files in tally.written.items()))


def _fetched(files: Files) -> list[Work]:
    """The photographs of the examples; the run tells of those that cannot be read."""
    found = []
    for job in files.examples:
        try:
            found.append(fetch(job))
        except DreamjobsError:
            continue
    return found


def _decode_s(works: list[Work]) -> float:
    megapixels = sum(work.source_size[0] * work.source_size[1] for work in works) / 1e6
    return sum(work.seconds.decode for work in works) / max(megapixels, 1e-6)


def _rough(photo: Source | None) -> Photo:
    """A picture about as hard to encode as a dream."""
    chance = np.random.default_rng(0)
    like = photo or Photo(np.full((_SIDE, _SIDE, 3), 0.5, np.float32), None, None, "png")
    small = images.reduced(like, _SIDE)
    pixels = small.pixels + chance.normal(0, _NOISE, small.pixels.shape).astype(np.float32)
    return replace(small, pixels=np.clip(pixels, 0, 1), alpha=None)


def _encode_s(job: Job, format: str, photo: Photo) -> float:  # noqa: A002  # the word for it
    """Seconds a megapixel."""
    begun = time.perf_counter()
    if format.endswith(" video"):
        _write_video(format.removesuffix(" video"), photo)
    else:
        encode_as(job, _work(photo), format)
    pictures = _FRAMES if format.endswith(" video") else 1
    return (time.perf_counter() - begun) / (pictures * photo.height * photo.width / 1e6)


def _write_video(kind: str, photo: Photo) -> None:
    frame = np.round(photo.pixels * 255).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        frames = [np.roll(frame, 8 * number, 1) for number in range(_FRAMES)]
        images.write_video(frames, os.path.join(folder, "video"), kind="mp4" if kind == "mp4" else "webp", fps=24)


def _frame_s(job: Job, photo: Photo) -> float:
    """Seconds a megapixel of putting a sequence's picture and reading it again."""
    begun = time.perf_counter()
    images.decode(encode_as(job, _work(photo), "png"))
    return (time.perf_counter() - begun) / (photo.height * photo.width / 1e6)


def _work(photo: Photo) -> Work:
    return Work(photo, "", (photo.height, photo.width), Seconds())
