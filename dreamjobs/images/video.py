"""Frames <-> video files: MP4 (H.264, by PyAV) and animated WebP (by Pillow).

A frame is uint8 RGB (h, w, 3), sRGB. MP4 is written and read frame by frame, so its length does not matter; the frames
of a WebP are all in memory while it is written. MP4 takes the package av, WebP nothing more than pictures do.

The same frames give the same bytes with the same versions of the packages: one encoding thread, rounding that does not
depend on the processor's instructions, no times in the metadata. Sound is neither written nor read.
"""

import io
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamjobs.errors import ImageError
from dreamjobs.images.opening import DAMAGE, prepare_pillow

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

Frame = NDArray[np.uint8]
Kind = Literal["mp4", "webp"]

# Best first. crf 18 is taken for visually lossless (FFmpeg's guide to H.264); where x264 is missing, MPEG-4 part 2 with
# quantisers of the same order, which browsers do not play.
_ENCODERS = {"libx264": {"crf": "18", "preset": "medium"}, "mpeg4": {"qmin": "1", "qmax": "3"}}
_WEBP_QUALITY = 90
_WEBP_SIDE = 16_383
_FPS = (0.01, 1000.0)
_UNSTATED, _HD_ROWS = 2, 720  # AVCOL_SPC_UNSPECIFIED of libavutil
# Demuxers of files that hold their own frames. No others: a playlist, for one, names other files and hosts.
_READABLE = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,ivf,h264,hevc"


def write_video(frames: Iterable[Frame], path: str, *, kind: Kind, fps: float) -> None:
    """Write frames, all of one size, `fps` of them a second, to a local file; nothing is left of it if that fails.

    mp4: yuv420p in BT.709. It takes even sides only, so an odd height or width gets its last row or column twice.
    webp: loops forever; a frame equal to the one before is not stored again but lengthens it.

    Raises:
        ImageError: for no frames, frames of unlike sizes or of another type, an `fps` or a side out of range, an
            unknown kind, and where mp4 is asked for without the package av.
    """
    if kind not in _WRITERS:
        raise ImageError(f"kind {kind!r} of video is not known; allowed are {', '.join(_WRITERS)}")
    rate, part = _rate(fps), f"{path}.part"
    try:
        _WRITERS[kind](_checked(frames), part, rate)
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(part)


def read_video(data_or_path: bytes | str) -> Iterator[Frame]:
    """The frames of a video, in the order they are shown, turned as its metadata says; decoded one by one.

    `data_or_path` is a whole file or the path of one: MP4, MOV, Matroska, WebM, AVI, MPEG, FLV, Ogg, GIF. Colours with
    no stated matrix are taken for BT.709 from 720 rows on, below that for BT.601, as players do. Of a damaged file the
    frames that FFmpeg can make out are given.

    Raises:
        ImageError: at the first frame asked for, if this is no video or the package av is missing; later, where
            nothing more can be made of a damaged file, or there was no frame in it.
    """
    av = _av()
    what = repr(data_or_path) if isinstance(data_or_path, str) else f"of {len(data_or_path)} bytes"
    options = {"format_whitelist": _READABLE}
    with (
        _source(data_or_path) as source,
        _as_image_error("read", what),
        av.open(source, "r", options=options, metadata_errors="replace") as video,
    ):
        if not video.streams.video:
            raise ImageError(f"the file {what} ({video.format.long_name}) holds no moving pictures; give a video")
        video.streams.video[0].thread_type = "AUTO"
        frame = None
        for frame in video.decode(video=0):
            yield _pixels(frame)
        if frame is None:
            raise ImageError(f"the video {what} holds no frame that can be decoded; it is damaged or cut short")


def _source(data_or_path: bytes | str) -> BinaryIO:
    """The file to read from. Opened here, because FFmpeg takes a name for a URL of any of its protocols."""
    return open(data_or_path, "rb") if isinstance(data_or_path, str) else io.BytesIO(data_or_path)


def _av() -> Any:
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise ImageError(
            f'video takes the package av, which cannot be imported ({error}): `pip install "dreamjobs[video]"`'
        ) from None
    return av


@contextmanager
def _as_image_error(doing: str, what: str) -> Iterator[None]:
    """Turn what FFmpeg says inside the block into ImageError; what the operating system says stays an OSError."""
    av = _av()
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise ImageError(
            f"cannot {doing} the video {what}: {error}; it is damaged, cut short or of a rare kind"
        ) from error


def _rate(fps: float) -> Fraction:
    """Frames a second as a ratio, so that 29.97002997 is the 30000/1001 of television."""
    least, most = _FPS
    if not (math.isfinite(fps) and least <= fps <= most):
        raise ImageError(f"fps is {fps}; allowed are {least:g} to {most:g} frames a second")
    return Fraction(fps).limit_denominator(1001)


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames as they come, each checked against the first; there must be one."""
    first = None
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ImageError(f"frame {number} is {frame.dtype} of shape {frame.shape}; uint8 (h, w, 3) is needed")
        first = first or frame.shape
        if frame.shape != first:
            raise ImageError(
                f"frame {number} is {frame.shape[0]} x {frame.shape[1]} (h x w), frame 0 is {first[0]} x {first[1]}; "
                "all frames of a video have one size: resize them first"
            )
        yield frame
    if first is None:
        raise ImageError("there is no frame to write; a video needs one or more")


def _write_mp4(frames: Iterator[Frame], part: str, rate: Fraction) -> None:
    av = _av()
    first = next(frames)
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with _as_image_error("write", repr(part)), av.open(part, "w", format="mp4", options=options) as container:
        stream = _stream(container, first, rate)
        for number, frame in enumerate(itertools.chain([first], frames)):
            picture = _picture(frame)
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _stream(container: "OutputContainer", first: Frame, rate: Fraction) -> "VideoStream":
    """The stream for frames such as the first; its encoder and its colours are set."""
    from av.codec.context import Flags
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    name = _encoder()
    stream: VideoStream = container.add_stream(name, rate=rate, options=_ENCODERS[name])  # type: ignore[assignment]
    height, width = first.shape[:2]
    stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
    coding = stream.codec_context
    coding.time_base = 1 / rate
    coding.thread_count = 1
    coding.flags |= Flags.bitexact
    coding.color_range, coding.colorspace = ColorRange.MPEG, Colorspace.ITU709
    coding.color_primaries, coding.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _encoder() -> str:
    """The best encoder that this build of PyAV has."""
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    for name in _ENCODERS:
        with suppress(UnknownCodecError):
            return Codec(name, "w").name
    raise ImageError(f"this build of the package av has none of the encoders {', '.join(_ENCODERS)}: install its wheel")


def _picture(frame: Frame) -> "VideoFrame":
    """A frame of pixels as yuv420p, its odd sides made even."""
    from av import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace

    height, width = frame.shape[:2]
    even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else frame
    return VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_exact(),
        threads=1,
    )


def _pixels(frame: "VideoFrame") -> Frame:
    """A decoded frame as RGB, upright."""
    from av.video.reformatter import Colorspace

    stated = frame.colorspace != _UNSTATED
    matrix = None if stated else Colorspace.ITU709 if frame.height >= _HD_ROWS else Colorspace.ITU601
    pixels = frame.to_ndarray(format="rgb24", src_colorspace=matrix, interpolation=_exact(), threads=1)
    # Degrees counterclockwise, as numpy turns; other angles than quarters are left, for want of a rectangle.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)


def _exact() -> int:
    """How swscale converts: full chroma, and arithmetic that is the same with all instruction sets."""
    from av.video.reformatter import Interpolation as Way

    return Way.BICUBIC | Way.FULL_CHR_H_INT | Way.FULL_CHR_H_INP | Way.ACCURATE_RND | Way.BITEXACT


def _write_webp(frames: Iterator[Frame], part: str, rate: Fraction) -> None:
    prepare_pillow()
    images = [Image.fromarray(frame) for frame in frames]
    if max(images[0].size) > _WEBP_SIDE:
        height, width = images[0].height, images[0].width
        raise ImageError(f"frames of {height} x {width} (h x w) do not fit: WebP holds sides up to {_WEBP_SIDE:,}")
    # Milliseconds between rounded times, not rounded durations: those would drift.
    times = [round(number * 1000 / rate) for number in range(len(images) + 1)]
    durations = [after - at for at, after in itertools.pairwise(times)]
    try:
        options: dict[str, Any] = {"duration": durations, "loop": 0, "quality": _WEBP_QUALITY, "method": 4}
        images[0].save(part, format="WEBP", save_all=True, append_images=images[1:], **options)
    except OSError:
        raise
    except DAMAGE as error:
        raise ImageError(f"cannot write {len(images)} frames as WebP: {error}") from error


_WRITERS = {"mp4": _write_mp4, "webp": _write_webp}
