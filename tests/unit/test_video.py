"""Videos: frames written to MP4 and WebP come back, the same bytes each time."""

import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from dreamjobs.errors import ImageError
from dreamjobs.images import video
from dreamjobs.images.video import Frame, Kind, read_video, write_video

KINDS = get_args(Kind)


def moving(count: int = 5, height: int = 48, width: int = 64) -> Iterator[Frame]:
    """Waves of all colours that move from frame to frame."""
    y, x = np.mgrid[:height, :width]
    for number in range(count):
        waves = [np.sin(y / 9 + number / 2), np.cos(x / 12 - number), np.sin((x + y) / 15)]
        yield (127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)


def of_one_colour(*colour: int, height: int = 32, width: int = 32) -> Frame:
    return np.full((height, width, 3), colour, np.uint8)


def written(path: Path, frames: Any, kind: Kind = "mp4", fps: float = 12.5) -> bytes:
    write_video(frames, str(path), kind=kind, fps=fps)
    return path.read_bytes()


def read_webp(data: bytes) -> list[Frame]:
    with Image.open(io.BytesIO(data)) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def test_mp4_comes_back(tmp_path: Path) -> None:
    """Number, order and size of frames are kept, and colours within what quality 18 loses."""
    back = list(read_video(written(tmp_path / "a.mp4", moving())))
    assert [frame.shape for frame in back] == [(48, 64, 3)] * 5
    for frame, was in zip(back, moving(), strict=True):
        assert np.abs(frame.astype(int) - was).mean() < 3


def test_mp4_is_h264_at_the_rate_asked(tmp_path: Path) -> None:
    """Encoder, pixel format, matrix and rate are what players expect; a ratio of television stays exact."""
    written(tmp_path / "a.mp4", moving(), fps=30000 / 1001)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
        assert stream.average_rate is not None
        assert stream.average_rate.as_integer_ratio() == (30000, 1001)
        assert "creation_time" not in container.metadata


@pytest.mark.parametrize("colour", [(200, 60, 30), (10, 200, 90), (30, 40, 220), (255, 255, 255), (0, 0, 0)])
def test_mp4_keeps_colours(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    """The matrix that is written is the one that is read: saturated colours stay within 4 of 255."""
    data = written(tmp_path / "a.mp4", [of_one_colour(*colour)] * 2)
    for frame in read_video(data):
        assert np.abs(frame.astype(int) - colour).max() <= 4


def test_mp4_doubles_the_last_row_and_column_of_odd_sizes(tmp_path: Path) -> None:
    """Nothing of a picture is cut off: an odd side grows by a pixel that repeats its last one."""
    back = list(read_video(written(tmp_path / "a.mp4", moving(height=47, width=63))))
    assert {frame.shape for frame in back} == {(48, 64, 3)}
    was = next(moving(height=47, width=63)).astype(int)
    assert np.abs(back[0][:47, :63] - was).mean() < 3
    assert np.abs(back[0][47, :63] - was[46]).mean() < 5


def test_mp4_takes_frames_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Early frames have been encoded before late ones are asked for."""
    seen: list[str] = []
    encode_picture = video._picture

    def noted(frame: Frame) -> av.VideoFrame:
        seen.append("encode")
        return encode_picture(frame)

    def frames() -> Iterator[Frame]:
        for frame in moving(3):
            seen.append("ask")
            yield frame

    monkeypatch.setattr(video, "_picture", noted)
    written(tmp_path / "a.mp4", frames())
    assert seen == ["ask", "encode"] * 3


def test_webp_comes_back(tmp_path: Path) -> None:
    """Number, size, duration and colours of the frames are kept, and it loops forever."""
    data = written(tmp_path / "a.webp", moving(), "webp")
    with Image.open(io.BytesIO(data)) as image:
        assert (image.size, image.info["loop"]) == ((64, 48), 0)
        image.load()
        assert image.info["duration"] == 80
    for frame, was in zip(read_webp(data), moving(), strict=True):
        assert np.abs(frame.astype(int) - was).mean() < 4


def test_webp_durations_do_not_drift(tmp_path: Path) -> None:
    """Sixty frames at 60 a second last one second, though a sixtieth is no whole number of milliseconds."""
    data = written(tmp_path / "a.webp", moving(60, 16, 16), "webp", fps=60)
    total = 0
    with Image.open(io.BytesIO(data)) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
            total += frame.info["duration"]
    assert total == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_same_frames_same_bytes(tmp_path: Path, kind: Kind) -> None:
    """Neither the hour nor the file's name gets into the file."""
    assert written(tmp_path / "a", moving(), kind) == written(tmp_path / "b", moving(), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_is_a_video(tmp_path: Path, kind: Kind) -> None:
    """A single frame can be written and read."""
    data = written(tmp_path / "a", moving(1), kind)
    assert len(list(read_video(data)) if kind == "mp4" else read_webp(data)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_unlike_sizes_are_refused(tmp_path: Path, kind: Kind) -> None:
    """The message names the frame and both sizes, and no half-written file is left, nor an old one lost."""
    (tmp_path / "a").write_bytes(b"old")
    frames = [*moving(2), np.zeros((48, 66, 3), np.uint8)]
    with pytest.raises(ImageError, match=r"frame 2 is 48 x 66 \(h x w\), frame 0 is 48 x 64"):
        written(tmp_path / "a", frames, kind)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize("kind", KINDS)
def test_no_frames_are_refused(tmp_path: Path, kind: Kind) -> None:
    """A video of nothing is an error."""
    with pytest.raises(ImageError, match="no frame to write"):
        written(tmp_path / "a", [], kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(tmp_path: Path, frame: Any) -> None:
    """Floats, grey and nothing are no frames."""
    with pytest.raises(ImageError, match="frame 0 is"):
        written(tmp_path / "a.mp4", [frame])


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e6])
def test_rates_out_of_range_are_refused(tmp_path: Path, fps: float) -> None:
    """The rate is checked before a frame is asked for."""
    with pytest.raises(ImageError, match="fps is"):
        written(tmp_path / "a.mp4", moving(), fps=fps)


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    """The message lists what there is."""
    with pytest.raises(ImageError, match="allowed are mp4, webp"):
        write_video(moving(), str(tmp_path / "a.avi"), kind="avi", fps=10)  # type: ignore[arg-type]


def test_webp_has_a_longest_side(tmp_path: Path) -> None:
    """What the format cannot hold is said in its own words."""
    with pytest.raises(ImageError, match="16,383"):
        written(tmp_path / "a.webp", [np.zeros((1, 16_384, 3), np.uint8)], "webp")


def test_without_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing the message says what to install; WebP needs nothing."""
    for name in [name for name in sys.modules if name == "av" or name.startswith("av.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r'pip install "dreamjobs\[video\]"'):
        written(tmp_path / "a.mp4", moving())
    with pytest.raises(ImageError, match=r'pip install "dreamjobs\[video\]"'):
        next(read_video(b""))
    assert written(tmp_path / "a.webp", moving(), "webp")


def test_without_x264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build without x264 writes the next best; one without any says so."""
    monkeypatch.delitem(video._ENCODERS, "libx264")
    assert len(list(read_video(written(tmp_path / "a.mp4", moving())))) == 5
    monkeypatch.delitem(video._ENCODERS, "mpeg4")
    with pytest.raises(ImageError, match="none of the encoders"):
        written(tmp_path / "b.mp4", moving())


def test_a_path_is_read_as_bytes_are(tmp_path: Path) -> None:
    """Both ways of giving a video give the same frames."""
    data = written(tmp_path / "a.mp4", moving())
    for one, other in zip(read_video(str(tmp_path / "a.mp4")), read_video(data), strict=True):
        assert (one == other).all()


def test_telephone_videos_come_upright(tmp_path: Path) -> None:
    """A track to be shown turned clockwise is read turned clockwise."""
    data = written(tmp_path / "a.mp4", moving(1))
    at = data.index(b"tkhd") + 44
    turn = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30], ">i4").tobytes()
    (plain,), (turned,) = read_video(data), read_video(data[:at] + turn + data[at + 36 :])
    assert (turned == np.rot90(plain, -1)).all()


def test_gif_frames_are_read() -> None:
    """Other kinds of file than MP4 can be read too."""
    images, file = [Image.fromarray(frame) for frame in moving(3)], io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:])
    assert [frame.shape for frame in read_video(file.getvalue())] == [(48, 64, 3)] * 3


@pytest.mark.parametrize(
    "data", [b"", b"not a video", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", b"ffconcat version 1.0\nfile a\n"]
)
def test_no_video(data: bytes) -> None:
    """Bytes of no kind, and lists that name other files, are refused."""
    with pytest.raises(ImageError, match="cannot read the video"):
        next(read_video(data))


def test_a_video_cut_short(tmp_path: Path) -> None:
    """An MP4 that lacks its end yields what it has, or says that it is damaged; nothing else is raised."""
    data = written(tmp_path / "a.mp4", moving(20))
    for length in range(100, len(data), 997):
        with suppress(ImageError):
            assert len(list(read_video(data[:length]))) <= 20


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    """A path that does not exist is not called a damaged video."""
    with pytest.raises(FileNotFoundError):
        next(read_video(str(tmp_path / "a.mp4")))
