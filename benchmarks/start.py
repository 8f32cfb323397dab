"""How long things take to start: help, one small picture, and the first picture of a run on a local Ray.

    python benchmarks/start.py [--rounds 5]

Each round runs, one after the other, `import torch, torchvision` alone, `dreamjobs --help`, `dreamjobs dream` of one
step upon a picture of 64 x 64, and `dreamjobs run` of that picture until its row is told, so that a busy machine
slows all alike. A line of JSON each: the best round in wall seconds, and the processor seconds of the process and its
children in the round that took least. Of the dream, `beyond_import_s` is the best of its rounds less the best import.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dreamjobs.images import Photo, encode

TINY_STEPS = ["--set", "octaves=1", "--set", "steps=1"]
IMPORT, HELP, DREAM, RUN = "import torch, torchvision", "dreamjobs --help", "dreamjobs dream", "dreamjobs run"


@dataclass(frozen=True)
class Took:
    """Seconds of one start."""

    wall_s: float
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        starts = prepared(folder)
        took: dict[str, list[Took]] = {name: [] for name in starts}
        for number in range(args.rounds):
            for name, start in starts.items():
                took[name].append(timed(start, number))
    imported = least([each.wall_s for each in took[IMPORT]])
    for name, rounds in took.items():
        wall_s, cpu_s = least([each.wall_s for each in rounds]), least([each.cpu_s for each in rounds])
        facts = {"what": name, "best_wall_s": wall_s, "least_cpu_s": cpu_s, "load": round(os.getloadavg()[0], 1)}
        print(json.dumps(facts | ({"beyond_import_s": round(wall_s - imported, 2)} if name == DREAM else {})))


def prepared(folder: str) -> dict[str, Callable[[int], float | None]]:
    """What is to be timed, by name; each takes the number of the round."""
    photo = os.path.join(folder, "photos", "a.png")
    os.makedirs(os.path.dirname(photo))
    pixels = np.random.default_rng(0).random((64, 64, 3), np.float32)
    with open(photo, "wb") as file:
        file.write(encode(Photo(pixels, None, None, "png"), format="png", quality=95, recipe={}))
    manifest = os.path.join(folder, "m.parquet")
    dreamjobs("manifest", os.path.dirname(photo), "-o", manifest, *TINY_STEPS)
    return {
        IMPORT: lambda number: python("-c", "import torch, torchvision"),
        HELP: lambda number: dreamjobs("--help"),
        DREAM: lambda number: dreamjobs("dream", photo, "-o", os.path.join(folder, "out.png"), *TINY_STEPS),
        RUN: lambda number: first_done("run", manifest, os.path.join(folder, f"run{number}"), "--log-format", "json"),
    }


def timed(start: Callable[[int], float | None], number: int) -> Took:
    """Wall seconds until it returned or said it was there, and the processor seconds of all it started."""
    before, begun = _children_cpu_s(), time.perf_counter()
    there = start(number)
    wall_s = (there or time.perf_counter()) - begun
    return Took(wall_s, _children_cpu_s() - before)


def first_done(*arguments: str) -> float:
    """Wait for a run; returns when it told its first picture."""
    command, there = [sys.executable, "-m", "dreamjobs", *arguments], 0.0
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
        for line in child.stderr or ():
            there = time.perf_counter() if json.loads(line)["event"] == "done" and not there else there
    return there


def dreamjobs(*arguments: str) -> None:
    python("-m", "dreamjobs", *arguments)


def python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def least(seconds: list[float]) -> float:
    return round(min(seconds), 2)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
