"""Sequences: pictures dreamed upon each other, clips, their videos, and going on where one was broken off."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dreamjobs import results
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build, param_type
from dreamjobs.storage import LocalStore, open_store

SHORT = {"net": "tiny", "objective": "things", "octaves": 1, "steps": 2, "jitter": 2}
INLINE = RunOptions(inline=True)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A photograph with something everywhere."""
    y, x = np.mgrid[0:40, 0:56]
    waves = np.stack([np.sin(y / 3 + c) * np.cos(x / 4 - c) for c in range(3)], 2)
    Image.fromarray((127 + 100 * waves).astype(np.uint8)).save(tmp_path / "waves.png")
    return tmp_path / "waves.png"


def manifest(folder: Path, image: str, **values: Any) -> str:
    """A manifest of one row."""
    row = {"image": image, **SHORT, **values}
    fields = [(name, pa.string() if name == "image" else param_type(name)) for name in row]
    pq.write_table(pa.Table.from_pylist([row], schema=pa.schema(fields)), folder / "m.parquet")
    return str(folder / "m.parquet")


def frames(folder: Path) -> dict[str, bytes]:
    """The numbered pictures of a run by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("frames/*/*"))}


def outcome(folder: Path) -> dict[str, Any]:
    (row,) = results.read(open_store(str(folder)), ("status", "output", "error", "sha256", "width")).to_pylist()
    return row


def test_a_sequence_is_numbered_pictures_and_a_video(photograph: Path, tmp_path: Path) -> None:
    """Four frames are four PNGs, each unlike the last, and an animated WebP of four frames at the rate asked for."""
    made = run(manifest(tmp_path, "waves.png", frames=4, zoom=1.1, fps=10.0), str(tmp_path / "run"), {}, INLINE)
    assert (made.done, made.failed) == (1, 0)
    found = frames(tmp_path / "run")
    assert list(found) == [f"{number:06d}.png" for number in range(1, 5)]
    assert len(set(found.values())) == 4
    with Image.open(tmp_path / "run" / outcome(tmp_path / "run")["output"]) as video:
        assert (video.n_frames, video.size) == (4, (56, 40))
        video.seek(1)
        video.load()
        assert video.info["duration"] == 100


def test_a_video_can_be_mp4_or_left_out(photograph: Path, tmp_path: Path) -> None:
    """`video: mp4` writes an MP4, `none` the last picture alone."""
    run(manifest(tmp_path, "waves.png", frames=2, video="mp4"), str(tmp_path / "a"), {}, INLINE)
    data = (tmp_path / "a" / outcome(tmp_path / "a")["output"]).read_bytes()
    assert data[4:8] == b"ftyp"
    run(manifest(tmp_path, "waves.png", frames=2, video="none"), str(tmp_path / "b"), {}, INLINE)
    with Image.open(tmp_path / "b" / outcome(tmp_path / "b")["output"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (56, 40))


def test_a_sequence_goes_on_at_its_next_picture_and_ends_in_the_same_bytes(
    photograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off at its third picture, a sequence makes only what is missing, and the video is the undisturbed one."""
    url = manifest(tmp_path, "waves.png", frames=5, zoom=1.05, rotate=3.0, shift_x=1.5)
    run(url, str(tmp_path / "whole"), {}, INLINE)
    put, broken = LocalStore.put, []

    def failing(store: LocalStore, key: str, data: bytes) -> None:
        if key.endswith("000003.png") and len(broken) < 5:
            broken.append(key)
            raise ValueError("the power is out")
        put(store, key, data)

    monkeypatch.setattr(LocalStore, "put", failing)
    assert run(url, str(tmp_path / "again"), {}, INLINE).failed == 1
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "again").glob("frames/*/*")}
    assert len(before) == 2
    assert (
        run(url, str(tmp_path / "again"), {}, RunOptions(inline=True, retry_failed=frozenset({"ValueError"}))).done == 1
    )
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert frames(tmp_path / "again") == frames(tmp_path / "whole")
    assert outcome(tmp_path / "again")["sha256"] == outcome(tmp_path / "whole")["sha256"]


def clip(folder: Path) -> None:
    """Frames 7 to 11 of a dark square that moves to the right before a cloudy sky."""
    folder.mkdir()
    noise = Image.fromarray(np.random.default_rng(0).integers(100, 250, (10, 15, 3), np.uint8))
    sky = np.asarray(noise.resize((60, 40), Image.Resampling.BICUBIC))
    for number in range(7, 12):
        picture = sky.copy()
        picture[10:30, 4 * number - 20 : 4 * number] = 30
        Image.fromarray(picture).save(folder / f"f{number}.png")


def test_a_folder_of_frames_is_dreamed_in_order(tmp_path: Path) -> None:
    """A clip's frames are dreamed by their numbers (10 after 9); nothing carried, each is a dream of its own."""
    clip(tmp_path / "clip")
    build([str(tmp_path / "clip")], str(tmp_path / "m.parquet"), [SHORT | {"carry": 0.0, "steps": 1}], clips=True)
    assert run(str(tmp_path / "m.parquet"), str(tmp_path / "run"), {}, INLINE).done == 1
    found = sorted((tmp_path / "run").glob("frames/*/*"))
    assert len(found) == 5
    for number, path in enumerate(found, start=7):
        dreamed, photo = (np.asarray(Image.open(p), float) for p in (path, tmp_path / "clip" / f"f{number}.png"))
        assert np.abs(dreamed - photo).mean() < 8


@pytest.mark.parametrize("flow", [False, True])
def test_what_was_dreamed_is_carried_on(tmp_path: Path, flow: bool) -> None:
    """With `carry` neighbouring frames' dreams are more alike than without, along the optical flow too."""
    clip(tmp_path / "clip")

    def flicker(carry: float) -> float:
        out = tmp_path / f"run{carry}"
        cells = SHORT | {"carry": carry, "carry_flow": flow, "jitter": 8, "step_size": 0.02}
        build([str(tmp_path / "clip")], str(tmp_path / "m.parquet"), [cells], clips=True)
        assert run(str(tmp_path / "m.parquet"), str(out), {}, INLINE).done == 1
        pictures = [np.asarray(Image.open(path), float)[:8] for path in sorted(out.glob("frames/*/*"))]  # still sky
        return float(np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(pictures)]))

    assert flicker(0.8) < 0.8 * flicker(0.0)


def test_a_sequence_may_begin_with_noise(tmp_path: Path) -> None:
    """A sequence needs no photograph: its first picture is dreamed from noise, the others upon it."""
    url = manifest(tmp_path, "noise:start", frames=3, zoom=1.1, start="natural", size="32x48")
    assert run(url, str(tmp_path / "run"), {}, INLINE).done == 1
    assert len(frames(tmp_path / "run")) == 3


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    """A clip without a picture fails its job with the words, and a manifest of one is not built."""
    (tmp_path / "empty").mkdir()
    run(manifest(tmp_path, "empty/", carry=0.5), str(tmp_path / "run"), {}, INLINE)
    assert "holds no picture" in outcome(tmp_path / "run")["error"]
