"""Large pictures: seconds a step and peak memory of one dream, by size, tiled and not.

    python benchmarks/large.py --net googlenet --objective inception4c --megapixels 1 4 16 100 [--tile-size 1024]
    python benchmarks/large.py --compare --megapixels 16 --tile-size 512

Each size runs in a process of its own, since memory that a process had it seldom gives back. Weights are random, which
changes neither time nor memory. `--compare` takes steps by tiles and uncut in turn in one process and prints the ratio.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time

import torch

from dreamjobs import load_net
from dreamjobs.octaves import dream, prepare
from dreamjobs.params import make_params


def picture(megapixels: float) -> torch.Tensor:
    """Noise of 3:2, made in place."""
    height = round(math.sqrt(megapixels * 1e6 / 1.44))
    return torch.rand(1, 3, height, round(height * 1.44), generator=torch.Generator().manual_seed(0))


def measure(args: argparse.Namespace, megapixels: float) -> None:
    """One dream of two octaves with one step each."""
    torch.set_num_threads(args.threads)
    net = load_net(args.net, args.weights)
    values = {"objective": args.objective, "tile_size": args.tile_size, "octaves": 2, "steps": 1}
    photo = picture(megapixels)
    begun = time.perf_counter()
    made = dream(photo, net, make_params(values))
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    pixels = megapixels * (1 + 1.4**-2)
    say(
        args,
        megapixels,
        s=round(seconds, 2),
        s_per_megapixel_step=round(seconds / pixels, 3),
        peak_gib=round(peak, 2),
        finite=bool(made.picture.isfinite().all()),
    )


def say(args: argparse.Namespace, megapixels: float, **figures: object) -> None:
    facts = {"net": args.net, "objective": args.objective, "tile_size": args.tile_size, "threads": args.threads}
    print(json.dumps({"megapixels": megapixels, **facts, **figures}), flush=True)


def compare(args: argparse.Namespace, megapixels: float, rounds: int = 3) -> None:
    """A gradient by tiles over one uncut, in turn, the best of each."""
    torch.set_num_threads(args.threads)
    net, photo = load_net(args.net, args.weights), picture(megapixels)
    goals = {size: prepare(net, make_params({"objective": args.objective, "tile_size": size}), photo)[0]
             for size in (args.tile_size, 65_536)}  # fmt: skip
    best = dict.fromkeys(goals, math.inf)
    for _ in range(rounds):
        for size, goal in goals.items():
            begun = time.perf_counter()
            goal.gradient(photo)
            best[size] = min(best[size], time.perf_counter() - begun)
    tiled, uncut = best.values()
    say(args, megapixels, tiled_s=round(tiled, 2), uncut_s=round(uncut, 2), ratio=round(tiled / uncut, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="dreamnet")
    parser.add_argument("--objective", default="mix8c")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tile-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    args = parser.parse_args()
    for size in args.megapixels:
        if args.compare:
            compare(args, size)
        elif args.here:
            measure(args, size)
        else:
            others = [*sys.argv[1:], "--here", "--megapixels", str(size)]
            subprocess.run([sys.executable, __file__, *others], check=True)


if __name__ == "__main__":
    main()
