"""How near a step comes to what the machine's arithmetic allows.

    python benchmarks/roofline.py [--nets vgg16:features.22 googlenet:inception4c dreamnet:mix8c] [--megapixels 1]

A gradient's floating-point operations (torch's FlopCounterMode counts convolutions and matrix products, forward
and back) over its time, as a share of the rate of a float32 product of large square matrices; the two are timed in turn
in one process, the best of the rounds counts.
"""

import argparse
import json
import math
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamjobs import load_net
from dreamjobs.octaves import prepare
from dreamjobs.params import make_params

NETS = ("vgg16:features.22", "googlenet:inception4c", "resnet50:layer3", "squeezenet1_0:features.9", "dreamnet:mix8c")
SIDE = 2048


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    height = round(math.sqrt(args.megapixels * 1e6 / 1.5))
    photo = torch.rand(1, 3, height, round(height * 1.5), generator=torch.Generator().manual_seed(0))
    matrix = torch.rand(SIDE, SIDE)
    for asked in args.nets:
        name, _, layer = asked.partition(":")
        net = load_net(name, "default" if name == "dreamnet" else "random")
        params = make_params({"net": name, "objective": layer, "precision": args.precision})
        goal = prepare(net, params, photo)[0]
        goal.gradient(photo)  # the first one also finds the sizes of maps, in a run of the net that would be counted
        with FlopCounterMode(display=False) as counter:
            goal.gradient(photo)
        step = product = math.inf
        for _ in range(args.rounds):
            step = min(step, seconds(lambda goal=goal: goal.gradient(photo)))
            product = min(product, seconds(lambda: matrix @ matrix))
        rate, limit = counter.get_total_flops() / step, 2 * SIDE**3 / product
        print(json.dumps({
            "net": asked, "megapixels": args.megapixels, "threads": args.threads, "step_s": round(step, 3),
            "gflop": round(counter.get_total_flops() / 1e9, 1), "gflop_per_s": round(rate / 1e9, 1),
            "product_gflop_per_s": round(limit / 1e9, 1), "share": round(rate / limit, 3),
        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
