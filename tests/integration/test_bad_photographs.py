"""A folder of bad photographs: each is a failed row that says why, and the run goes on."""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.photos import encoded, go, noise, pictures, put_photos, rows
from PIL import Image

from dreamjobs import ledger
from dreamjobs.manifest import build
from dreamjobs.storage import open_store


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")


def png_that_claims(width: int, height: int) -> bytes:
    """A small file whose header promises a picture of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BAD: dict[str, tuple[bytes, str]] = {
    "truncated.jpg": (encoded(noise(1, (200, 200)), "JPEG")[:9000], "damaged, cut short"),
    "truncated.png": (encoded(noise(1, (200, 200)))[:9000], "damaged, cut short"),
    "empty.jpg": (b"", "empty (0 bytes)"),
    "text.jpg": (b"Dear diary, this is no picture.", "no picture that can be read"),
    "bomb.png": (png_that_claims(100_000, 100_000), "10,000,000,000 pixels"),
    "half a header.tif": (b"II*\0", "picture"),
    "zeros.webp": (bytes(5000), "no picture that can be read"),
}

GOOD: dict[str, Callable[[], bytes]] = {
    "1x1.png": lambda: encoded(noise(2, (1, 1))),
    "long.png": lambda: encoded(noise(3, (700, 1))),
    "tall.jpg": lambda: encoded(noise(4, (2, 600)), "JPEG"),
    "cmyk.jpg": lambda: encoded(noise(5).convert("CMYK"), "JPEG"),
    "grey.png": lambda: encoded(noise(6).convert("L")),
    "palette.gif": lambda: encoded(noise(7).convert("P"), "GIF"),
    "deep.png": lambda: encoded(Image.fromarray(np.full((20, 24), 40_000, np.uint16))),
    "alpha.png": lambda: encoded(noise(8).convert("RGBA")),
    "one bit.tif": lambda: encoded(noise(9).convert("1"), "TIFF"),
    "wrong ending.jpg": lambda: encoded(noise(10)),
}


def by_name() -> dict[str, dict[str, Any]]:
    return {row["image"].removeprefix("photos/"): row for row in rows("run")}


def test_bad_photographs_fail_and_good_ones_are_done(ray_cluster: None) -> None:
    """On Ray: every damaged file is a failed row of its own, tried once; every odd but sound one is dreamed."""
    for name, (data, _) in BAD.items():
        Path("photos", name).write_bytes(data)
    for name, make in GOOD.items():
        Path("photos", name).write_bytes(make())
    Path("photos/gone.png").write_bytes(encoded(noise(11)))
    Path("photos/turned.png").write_bytes(encoded(noise(12)))
    Path("photos/folder.jpg").mkdir()
    assert build(["photos"], "m.parquet", []).photographs == len(BAD) + len(GOOD) + 2
    os.rename("photos/gone.png", "away.png")
    Path("photos/turned.png").unlink()
    Path("photos/turned.png").mkdir()
    summary = go("m.parquet", "run", {"steps": 1, "octaves": 1}, actors=1)
    assert (summary.done, summary.failed, summary.left) == (len(GOOD), len(BAD) + 2, 0)
    found = by_name()
    for name, (_, said) in BAD.items():
        row = found.pop(name)
        assert (row["status"], row["error_type"], row["attempts"]) == ("failed", "ImageError", 1), name
        assert said in row["error"], name
    for name, said in (("gone.png", "does not exist"), ("turned.png", "is a folder")):
        row = found.pop(name)
        assert (row["status"], row["error_type"], row["attempts"]) == ("failed", "NotFoundError", 1), name
        assert said in row["error"]
    assert {name: row["status"] for name, row in found.items()} == dict.fromkeys(GOOD, "done")
    made = pictures("run")
    assert len(made) == len(GOOD)
    for name, row in found.items():
        with Image.open(Path("photos", name)) as source, Image.open(Path("run", row["output"])) as dreamed:
            assert dreamed.size == source.size, name
    with Image.open(Path("run", found["alpha.png"]["output"])) as dreamed:
        assert dreamed.mode == "RGBA"
    audit = ledger.verify(open_store("run"))
    assert audit.sound
    assert audit.status.errors == {"ImageError": len(BAD), "NotFoundError": 2}


def test_failed_jobs_are_tried_again_by_type() -> None:
    """`retry_failed` with the error's type runs the jobs that failed with it, and no others."""
    put_photos("photos", 2)
    Path("photos/bad.png").write_bytes(b"text")
    Path("photos/gone.png").write_bytes(encoded(noise(5)))
    build(["photos"], "m.parquet", [])
    os.rename("photos/gone.png", "away.png")
    assert go("m.parquet", "run", inline=True).failed == 2
    nothing = go("m.parquet", "run", inline=True)
    assert (nothing.done, nothing.failed, nothing.failed_before, nothing.done_before) == (0, 0, 2, 2)
    os.rename("away.png", "photos/gone.png")
    again = go("m.parquet", "run", inline=True, retry_failed=frozenset(["NotFoundError"]))
    assert (again.reasons, again.done, again.failed_before) == ({"failed before": 1}, 1, 1)
    assert {name: row["status"] for name, row in by_name().items()} == {
        "0.png": "done",
        "1.png": "done",
        "bad.png": "failed",
        "gone.png": "done",
    }
    assert len(rows("run")) == 4


def test_a_mended_photograph_is_another_source() -> None:
    """A photograph that was replaced is not dreamed in the old one's name; a new manifest dreams it."""
    put_photos("photos", 1)
    Path("photos/bad.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [])
    assert go("m.parquet", "run", inline=True).failed == 1
    Path("photos/bad.png").write_bytes(encoded(noise(3)))
    assert go("m.parquet", "run", inline=True, retry_failed=frozenset(["all"])).failed == 1
    assert by_name()["bad.png"]["error_type"] == "SourceChangedError"
    build(["photos"], "m.parquet", [])
    again = go("m.parquet", "run", inline=True, extend=True)
    assert (again.reasons, again.done, again.failed) == ({"source changed": 1}, 1, 0)


def without_the_right_to_read_everything() -> None:
    """Take from this thread, if it is root's, what lets root read files that deny it."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for group in (0, 3):  # effective, of the lower and the upper 32 capabilities
        sets[group] &= ~0b110 if group == 0 else 0xFFFFFFFF  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def test_a_photograph_that_may_not_be_read_fails() -> None:
    """A file without permission is a failed row with AccessError, not tried again; the others are done."""
    put_photos("photos", 3)
    build(["photos"], "m.parquet", [])
    os.chmod("photos/1.png", 0)
    with ThreadPoolExecutor(1, initializer=without_the_right_to_read_everything) as thread:
        summary = thread.submit(go, "m.parquet", "run", inline=True).result()
    assert (summary.done, summary.failed) == (2, 1)
    row = by_name()["1.png"]
    assert (row["error_type"], row["attempts"]) == ("AccessError", 1)
    assert "denied" in row["error"]


def test_a_run_that_may_not_be_written_is_refused() -> None:
    """RUN in a folder that denies writing ends before anything is dreamed."""
    put_photos("photos", 1)
    build(["photos"], "m.parquet", [])
    os.mkdir("locked", 0o500)
    with ThreadPoolExecutor(1, initializer=without_the_right_to_read_everything) as thread:
        error = thread.submit(go, "m.parquet", "locked/run", inline=True).exception()
    assert type(error).__name__ == "AccessError"
    assert "denied" in str(error)


STRANGE = ["../../up.png", "a b.png", "ü日本.png", "%2F..%2F.png", "#?&.png", "n" * 240 + ".png", "line\nfeed.png"]


def test_strange_names_stay_inside(tmp_path: Path) -> None:
    """Photographs with names of every kind are dreamed to keys below images/, each its own."""
    deep = tmp_path / "x" / "y"
    for name in STRANGE:
        path = deep / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(len(name))))
    os.chdir(deep)
    build([str(path) for path in [deep, tmp_path / "up.png"]], "m.parquet", [])
    before = {path for path in tmp_path.rglob("*") if (deep / "run") not in path.parents}
    summary = go("m.parquet", "run", inline=True)
    assert (summary.done, summary.failed) == (len(STRANGE), 0)
    assert len(pictures("run")) == len(STRANGE)
    after = {path for path in tmp_path.rglob("*") if (deep / "run") not in path.parents}
    assert after - before == {deep / "run"}
    assert ledger.verify(open_store("run")).sound
