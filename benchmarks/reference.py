"""The dream as a person would write it in stock PyTorch, beside ours: the same nets, layers, octaves, steps and sizes.

    python benchmarks/reference.py [--rounds 3] [--side 512] [--nets googlenet:inception4c vgg16:features.22 ...]

The reference is float32, NCHW, a hook on the layer, the whole trunk run forward, weights without gradients. Both dream
the same noise picture in turn with random weights of the same seed; the best of the rounds counts. The first step's
gradients are held against the reference in float64: the mean difference over the mean gradient.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamjobs import load_net
from dreamjobs.nets.load import build, fetch_weights, preprocessing
from dreamjobs.octaves import dream, prepare
from dreamjobs.params import make_params

NETS = ("googlenet:inception4c", "resnet50:layer3", "squeezenet1_0:features.9", "vgg16:features.22", "dreamnet:mix8c")


class Reference:
    """The published recipe: octaves, detail, jitter, g / mean|g|."""

    def __init__(self, name: str, layer: str) -> None:
        self.net = build(name, fetch_weights(name, "default" if name == "dreamnet" else "random")).requires_grad_(False)
        mean, std = preprocessing(self.net)
        self.mean, self.std = torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)
        self.net.get_submodule(layer).register_forward_hook(self._keep)
        self.seen = torch.empty(0)

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.seen = output

    def double(self) -> "Reference":
        """The same in float64."""
        self.net.double()
        self.mean, self.std = self.mean.double(), self.std.double()
        return self

    def gradient(self, picture: Tensor) -> Tensor:
        picture = picture.clone().requires_grad_()
        self.net((picture - self.mean) / self.std)
        (self.seen.square().mean() / 2).backward()
        return picture.grad

    def dream(self, photo: Tensor, octaves: int, steps: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        sizes = [[round(side * 1.4**-i) for side in photo.shape[2:]] for i in reversed(range(octaves))]
        detail = torch.zeros(1, 3, *sizes[0])
        for size in sizes:
            base = F.interpolate(photo, size, mode="bicubic", antialias=True)
            picture = base + F.interpolate(detail, size, mode="bicubic")
            for _ in range(steps):
                shift = torch.randint(-32, 33, (2,), generator=generator).tolist()
                picture = picture.roll(shift, (2, 3))
                gradient = self.gradient(picture)
                picture = (picture + 0.006 * gradient / gradient.abs().mean()).clamp(0, 1)
                picture = picture.roll([-s for s in shift], (2, 3))
            detail = picture - base
        return picture


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().mean() / exact.abs().mean())


def best_of(rounds: int, runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The best time of each, taken in turn."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--octaves", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], default="float32", help="ours; theirs is float32"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    photo = torch.rand(1, 3, args.side, args.side * 4 // 3, generator=torch.Generator().manual_seed(1))
    for text in args.nets:
        name, _, layer = text.partition(":")
        theirs = Reference(name, layer)
        net = load_net(name, "default" if name == "dreamnet" else "random")
        asked = {"net": name, "objective": layer, "octaves": args.octaves, "steps": args.steps}
        params = make_params(asked | {"precision": args.precision})
        ours = prepare(net, params, photo)[0].gradient(photo).pixels
        exact = Reference(name, layer).double().gradient(photo.double())
        times = best_of(
            args.rounds,
            {
                "reference": lambda theirs=theirs: theirs.dream(photo, args.octaves, args.steps),
                "ours": lambda net=net, params=params: dream(photo, net, params),
            },
        )
        print(json.dumps({
            "net": name, "layer": layer, "reference_s": round(times["reference"], 2), "ours_s": round(times["ours"], 2),
            "times_faster": round(times["reference"] / times["ours"], 2),
            "reference_from_float64": distance(theirs.gradient(photo), exact),
            "ours_from_float64": distance(ours, exact),
        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
