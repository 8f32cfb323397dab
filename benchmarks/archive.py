"""An archive of photographs: what a run takes beyond the dreams themselves, and how actors are best laid out.

    python benchmarks/archive.py --photos DIR [--count 64] [--side 1225] [--rounds 1]

Photographs of `--side` pixels on the longer side (3:2 at 1225: 1 megapixel) are cut from those in DIR and saved as
JPEG. Then, in turn: their dreams alone, already decoded, in two processes of one thread each; a run by two actors of
one thread; a run by one actor of two threads. A run is timed from the call to its end, after Ray is up: reading,
decoding, encoding, storing and the ledger are in it. Printed is each one's time over that of the dreams alone.
"""

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from dreamjobs import images
from dreamjobs.engine import RunOptions, run
from dreamjobs.engine.cluster import start_local
from dreamjobs.images import Photo
from dreamjobs.manifest import build


def photographs(folder: str, count: int, side: int) -> Iterator[Photo]:
    """Crops of the photographs in a folder, as many as are asked for, each from another place."""
    paths = [path for path in sorted(Path(folder).iterdir()) if images.is_picture(path.name)]
    random, height = np.random.default_rng(0), round(side / 1.5)
    for number in range(count):
        photo = images.decode(paths[number % len(paths)].read_bytes())
        pixels = np.pad(
            photo.pixels, ((0, max(0, height - photo.height)), (0, max(0, side - photo.width)), (0, 0)), "reflect"
        )
        top = random.integers(0, pixels.shape[0] - height + 1)
        left = random.integers(0, pixels.shape[1] - side + 1)
        crop = np.ascontiguousarray(pixels[top : top + height, left : left + side])
        yield Photo(crop, None, None, "jpeg")


def dream_all(paths: list[str], start: Barrier) -> None:
    """Dream decoded photographs with the default parameters, one thread."""
    import torch

    from dreamjobs import load_net
    from dreamjobs.octaves import dream
    from dreamjobs.params import make_params

    torch.set_num_threads(1)
    pictures = [torch.tensor(images.decode(Path(path).read_bytes()).pixels).permute(2, 0, 1)[None] for path in paths]
    net, params = load_net("dreamnet", "default"), make_params({})
    dream(pictures[0][..., :64, :64], net, params)
    start.wait()
    for picture in pictures:
        dream(picture, net, params)
    start.wait()


def dreams_alone(paths: list[str]) -> float:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    workers = [spawn.Process(target=dream_all, args=(paths[number::2], start)) for number in range(2)]
    for worker in workers:
        worker.start()
    start.wait()
    begun = time.perf_counter()
    start.wait()
    seconds = time.perf_counter() - begun
    for worker in workers:
        worker.join()
    return seconds


def one_run(folder: Path, name: str, actors: int, threads: int) -> float:
    shutil.rmtree(folder / name, ignore_errors=True)
    begun = time.perf_counter()
    summary = run(str(folder / "m.parquet"), str(folder / name), {"threads": threads}, RunOptions(actors=actors))
    if summary.failed:
        raise SystemExit(f"{summary.failed} jobs failed")
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--side", type=int, default=1225)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        for number, photo in enumerate(photographs(args.photos, args.count, args.side)):
            data = images.encode(photo, format="jpeg", quality=95, recipe={})
            (folder / f"photos/{number:03}.jpg").write_bytes(data)
        build([str(folder / "photos")], str(folder / "m.parquet"), [])
        paths = sorted(map(str, (folder / "photos").iterdir()))
        start_local(2)
        best: dict[str, float] = {}
        for _ in range(args.rounds):
            for what, seconds in (
                ("dreams alone", dreams_alone(paths)),
                ("run, 2 actors of 1 thread", one_run(folder, "two", 2, 1)),
                ("run, 1 actor of 2 threads", one_run(folder, "one", 1, 2)),
            ):
                best[what] = min(best.get(what, seconds), seconds)
        for what, seconds in best.items():
            share = seconds / best["dreams alone"]
            print(
                json.dumps({"what": what, "pictures": args.count, "s": round(seconds, 1), "of_dreams": round(share, 3)})
            )


if __name__ == "__main__":
    main()
