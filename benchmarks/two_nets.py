"""What a step of one net costs beside a step of another, on one machine.

    python benchmarks/two_nets.py --photo FILE [--nets dreamnet:mix8c googlenet:inception4c] [--sizes 1225x816 ...]

The photograph is brought to each size (width x height) and dreamed in one octave of a few steps by the two nets in
turn. A step is all that lies between two calls of `on_step`: the random shift, the gradient by tiles, its normalisation
and the change. Printed, for each size and number of threads, are the median step of each net and the quartiles, over
the turns, of the first's share of the second's. Nets but dreamnet have random weights.
"""

import argparse
import itertools
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs import images, load_net, octaves
from dreamjobs.params import make_params

STEPS = 4  # a dream; in the first, which is not timed, sizes of maps are found


def steps(asked: str, picture: Tensor, turn: int) -> list[float]:
    """The seconds of a dream's steps but the first, with the shifts that belong to this turn."""
    name, _, layer = asked.partition(":")
    net = load_net(name, "default" if name == "dreamnet" else "random")
    params = make_params({"net": name, "objective": layer, "octaves": 1, "steps": STEPS, "seed": turn})
    ends: list[float] = []
    octaves.dream(picture, net, params, on_step=lambda *_: ends.append(time.perf_counter()))
    return [end - begun for begun, end in itertools.pairwise(ends)]


def measured(nets: tuple[str, str], picture: Tensor, turns: int) -> dict[str, object]:
    """Both nets' steps in turn, after a turn in which code is compiled."""
    taken = [[steps(net, picture, turn) for net in nets] for turn in range(turns + 1)][1:]
    medians = [round(statistics.median(itertools.chain.from_iterable(own)), 4) for own in zip(*taken, strict=True)]
    shares = [statistics.median(first) / statistics.median(second) for first, second in taken]
    return {
        "steps_s": dict(zip(nets, medians, strict=True)),
        "share": [round(share, 3) for share in statistics.quantiles(shares, n=4)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", required=True)
    parser.add_argument("--nets", nargs=2, default=("dreamnet:mix8c", "googlenet:inception4c"), help="NET:LAYER, two")
    parser.add_argument("--sizes", nargs="+", default=("1225x816", "1155x866", "1000x1000"))
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--turns", type=int, default=12)
    args = parser.parse_args()
    with open(args.photo, "rb") as file:
        photo = torch.tensor(images.decode(file.read()).pixels).permute(2, 0, 1)[None]
    for size, threads in itertools.product(args.sizes, args.threads):
        torch.set_num_threads(threads)
        width, height = map(int, size.split("x"))
        picture = F.interpolate(photo, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
        found = measured(tuple(args.nets), picture, args.turns)
        print(json.dumps({"size": size, "threads": threads, **found}), flush=True)


if __name__ == "__main__":
    main()
