"""Time and memory of one fanned-out picture that is read by window and written as a pyramid.

    python benchmarks/gigapixel.py FOLDER --side 10000 --store-gb 0.5

In FOLDER a tiled TIFF of waves and noise is made, unless it is there, and dreamed by the tiny net in one octave of one
step by two actors of a local Ray, whose object store is so small that it spills. What is printed is the wall time, the
size of the file, the most that Ray had spilled, and of each process the most memory that it had to itself and shared.
Linux only: memory is what /proc tells, looked at five times a second.
"""

import argparse
import logging
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ray
import tifffile

from dreamjobs import results
from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

_TILE = 512
_PARAMS = {"net": "tiny", "objective": "things", "octaves": 1, "steps": 1, "jitter": 8, "fan_out_mpx": 20.0}


def make(path: Path, side: int) -> None:
    """A tiled BigTIFF of side x side pixels, made tile by tile."""
    options = {"photometric": "rgb", "tile": (_TILE, _TILE), "compression": "adobe_deflate", "predictor": 2}
    tifffile.imwrite(path, _tiles(side), shape=(side, side, 3), dtype=np.uint8, bigtiff=True, **options)


def _tiles(side: int) -> Iterator[np.ndarray]:
    noise = np.random.default_rng(0)
    for top in range(0, side, _TILE):
        for left in range(0, side, _TILE):
            y, x = np.mgrid[top : top + _TILE, left : left + _TILE].astype(np.float32)
            waves = [
                60 * np.sin(y / (37 + 9 * c)) * np.cos(x / (53 - 7 * c)) + 40 * np.sin((y + x) / (11 + c))
                for c in range(3)
            ]
            tile = 128 + np.stack(waves, 2) + noise.normal(0, 4, (_TILE, _TILE, 3))
            yield tile.clip(0, 255).astype(np.uint8)


class Watch:
    """Looks at the memory of this process and all below it, and at what Ray has spilled, until it is stopped."""

    def __init__(self, spilled: Path) -> None:
        self.peaks: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.titles: dict[int, set[str]] = defaultdict(set)
        self.spilled_bytes, self._spilled = 0, spilled
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            status = {pid: _status(pid) for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))}
            for pid in (pid for pid in status if _is_below(pid, status)):
                self.titles[pid].add(_title(pid))
                for name, kib in status[pid].items():
                    self.peaks[pid][name] = max(self.peaks[pid][name], kib)
            self.spilled_bytes = max(self.spilled_bytes, _size(self._spilled))


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split()[:2] for line in lines if line.startswith(("PPid", "RssAnon", "RssFile", "RssShmem")))
    return {name.rstrip(":"): int(value) for name, value in fields}


def _is_below(pid: int, status: dict[int, dict[str, int]]) -> bool:
    while pid > 1 and pid != os.getpid():
        pid = status.get(pid, {}).get("PPid", 0)
    return pid == os.getpid()


def _title(pid: int) -> str:
    try:
        return os.path.basename(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].split(" ")[0])
    except OSError:
        return ""


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("ray_spilled_objects*/*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # restored meanwhile
    return total


def main() -> None:
    """Make the picture, dream it, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--store-gb", type=float, default=0.5)
    given = parser.parse_args()
    source, out = given.folder / f"source{given.side}", str(given.folder / f"run{given.side}")
    if not (source / "a.tif").exists():
        source.mkdir(parents=True, exist_ok=True)
        make(source / "a.tif", given.side)
    shutil.rmtree(out, ignore_errors=True)
    build([str(source)], f"{out}.parquet", [])
    size = int(given.store_gb * 1e9)
    context = ray.init(address="local", num_cpus=4, object_store_memory=size, logging_level=logging.ERROR)
    begun = time.perf_counter()
    with Watch(Path(context.address_info["session_dir"])) as watch:
        run(f"{out}.parquet", out, _PARAMS, RunOptions(actors=2))
    row = results.read(open_store(out)).to_pylist()[0]
    print(f"{row['status']}: {row['width']} x {row['height']}, {row['size_bytes'] / 1e6:,.0f} MB")
    print(f"{time.perf_counter() - begun:.0f} s; at most {watch.spilled_bytes / 1e9:.1f} GB spilled")
    for pid, peak in sorted(watch.peaks.items(), key=lambda item: -item[1]["RssAnon"]):
        if peak["RssAnon"] > 100_000:
            own, shared = peak["RssAnon"] / 1000, (peak["RssFile"] + peak["RssShmem"]) / 1000
            names = ", ".join(sorted(watch.titles[pid] - {"", "ray::IDLE"}))
            print(f"{own:8,.0f} MB its own, {shared:8,.0f} MB shared: {names}")
    ray.shutdown()


if __name__ == "__main__":
    main()
