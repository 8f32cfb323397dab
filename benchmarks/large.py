"""Large pictures: seconds a step and peak memory of one dream, by size, tiled and not.

    python benchmarks/large.py --net googlenet --objective inception4c --megapixels 1 4 16 100 [--tile-size 1024]
    python benchmarks/large.py --compare --megapixels 16 --tile-size 512

Each size runs in a process of its own, since memory that a process had it seldom gives back; at the end comes the
exponent of the cost in pixels, by least squares over the sizes. Weights are random, which changes neither time nor
memory. `--compare` takes steps by tiles and uncut in turn in one process and prints the ratio. `--job` measures a whole
job on a JPEG file: decode, dream, encode.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from statistics import linear_regression

import torch
from PIL import Image

from dreamjobs import load_net
from dreamjobs.octaves import dream, prepare
from dreamjobs.octaves.pictures import unit
from dreamjobs.params import make_params
from dreamjobs.worker import one_picture


def picture(megapixels: float) -> torch.Tensor:
    """Noise of 8 bits, 1.44 times as wide as high, in rows of RGB as decoded photographs are."""
    height = round(math.sqrt(megapixels * 1e6 / 1.44))
    size = height, round(height * 1.44), 3
    rows = torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return rows.permute(2, 0, 1)[None]


def measure(args: argparse.Namespace, megapixels: float) -> None:
    """One dream of two octaves with one step each. CPU seconds tell more than others on a machine that is shared."""
    torch.set_num_threads(args.threads)
    net = load_net(args.net, args.weights)
    params = make_params({**given(args), "octaves": 2, "steps": 1})
    photo = picture(megapixels)
    dream(photo[..., :256, :256], net, params)  # readers are made at first use
    begun, cpu = time.perf_counter(), time.process_time()
    made = dream(photo, net, params)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    pixels = megapixels * (1 + 1.4**-2)
    say(
        args,
        megapixels,
        s=round(seconds, 2),
        cpu_s=round(cpu, 2),
        cpu_s_per_megapixel_step=round(cpu / pixels, 3),
        peak_gib=peak_gib(),
        finite=bool(made.picture.isfinite().all()),
    )


def measure_job(args: argparse.Namespace, megapixels: float) -> None:
    """What `dreamjobs dream` does with a JPEG of this size: decode, two octaves of one step, encode."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        height = round(math.sqrt(megapixels * 1e6 / 1.44))
        Image.effect_noise((round(height * 1.44), height), 60).convert("RGB").save(file, "jpeg")
        values = {**given(args), "net": args.net, "weights": args.weights, "octaves": 2, "steps": 1}
        begun = time.perf_counter()
        data = one_picture(file.name, make_params({**values, "threads": args.threads}))
        seconds = time.perf_counter() - begun
    say(args, megapixels, job_s=round(seconds, 2), peak_gib=peak_gib(), size_bytes=len(data))


def given(args: argparse.Namespace) -> dict[str, object]:
    return {"objective": args.objective, "tile_size": args.tile_size}


def peak_gib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def exponent(rows: list[dict[str, float]], name: str) -> float:
    """How the cost grows with pixels: the slope over logarithms of both."""
    sizes = [math.log(row["megapixels"]) for row in rows]
    return linear_regression(sizes, [math.log(row[name]) for row in rows]).slope


def say(args: argparse.Namespace, megapixels: float, **figures: object) -> None:
    facts = {"net": args.net, "objective": args.objective, "tile_size": args.tile_size, "threads": args.threads}
    print(json.dumps({"megapixels": megapixels, **facts, **figures}), flush=True)


def compare(args: argparse.Namespace, megapixels: float, rounds: int = 3) -> None:
    """A gradient by tiles over one uncut, in turn, the best of each."""
    torch.set_num_threads(args.threads)
    net, photo = load_net(args.net, args.weights), unit(picture(megapixels))
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
    parser.add_argument("--job", action="store_true")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    args = parser.parse_args()
    if args.compare or args.here:
        for size in args.megapixels:
            (compare if args.compare else measure_job if args.job else measure)(args, size)
        return
    rows = [in_a_process(size) for size in args.megapixels]
    if len(rows) > 1 and not args.job:
        print(json.dumps({f"exponent_{name}": round(exponent(rows, name), 3) for name in ("s", "cpu_s")}))


def in_a_process(megapixels: float) -> dict[str, float]:
    """What a process of its own says of one size."""
    command = [sys.executable, __file__, *sys.argv[1:], "--here", "--megapixels", str(megapixels)]
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(line, end="", flush=True)
    return dict(json.loads(line))


if __name__ == "__main__":
    main()
