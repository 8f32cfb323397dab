"""The dream as a person would write it in stock PyTorch, beside ours: the same nets, layers, octaves, steps and sizes.

    python benchmarks/reference.py [--rounds 3] [--side 512] [--nets googlenet:inception4c vgg16:features.22 ...]

The reference is float32, NCHW, a hook on the layer, the whole trunk run forward, weights without gradients. Both dream
the same noise picture in turn with random weights of the same seed, each in a process of its own, as people would run
them (theirs without the huge pages that dreamjobs asks torch for); the best of the rounds counts. The first step's
gradients are held against the reference in float64: the mean difference, and the median, over the mean gradient.
"""

import argparse
import functools
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamjobs import load_net
from dreamjobs.nets import Net
from dreamjobs.nets.load import build, fetch_weights, preprocessing
from dreamjobs.octaves import dream, prepare
from dreamjobs.params import DreamParams, make_params

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


def photograph(side: int) -> Tensor:
    return torch.rand(1, 3, side, side * 4 // 3, generator=torch.Generator().manual_seed(1))


def asked_of_us(net: str, args: argparse.Namespace) -> DreamParams:
    name, _, layer = net.partition(":")
    asked = {"net": name, "objective": layer, "octaves": args.octaves, "steps": args.steps}
    return make_params(asked | {"precision": args.precision})


@functools.cache
def reference(net: str) -> Reference:
    name, _, layer = net.partition(":")
    return Reference(name, layer)


@functools.cache
def ours(name: str) -> Net:
    return load_net(name, "default" if name == "dreamnet" else "random")


def as_torch_comes() -> None:
    """Take back what importing dreamjobs asked for."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = "0"


def time_reference(net: str, args: argparse.Namespace) -> float:
    torch.set_num_threads(args.threads)
    photo, theirs = photograph(args.side), reference(net)
    begun = time.perf_counter()
    theirs.dream(photo, args.octaves, args.steps)
    return time.perf_counter() - begun


def time_ours(net: str, args: argparse.Namespace) -> float:
    torch.set_num_threads(args.threads)
    photo, params = photograph(args.side), asked_of_us(net, args)
    held = ours(params.net)
    begun = time.perf_counter()
    dream(photo, held, params)
    return time.perf_counter() - begun


def first_gradients(net: str, args: argparse.Namespace) -> dict[str, float]:
    """How far both first gradients are from the reference's in float64."""
    torch.set_num_threads(args.threads)
    name, _, layer = net.partition(":")
    photo, params = photograph(args.side), asked_of_us(net, args)
    exact = Reference(name, layer).double().gradient(photo.double())
    found = {"reference": reference(net).gradient(photo)}
    found["ours"] = prepare(ours(name), params, photo)[0].gradient(photo).pixels
    return {
        f"{who}_from_float64{what}": round(measure(gradient, exact), 8)
        for who, gradient in found.items()
        for what, measure in (("", distance), ("_at_most_pixels", usual_distance))
    }


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().mean() / exact.abs().mean())


def usual_distance(found: Tensor, exact: Tensor) -> float:
    """The median in place of the mean, which a single ReLU or maximum that rounding decides otherwise can raise."""
    return float((found.double() - exact).abs().median() / exact.abs().mean())


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
    for net in args.nets:
        best = {time_reference: float("inf"), time_ours: float("inf")}
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn, as_torch_comes) as theirs, ProcessPoolExecutor(1, spawn) as our_process:
            processes = {time_reference: theirs, time_ours: our_process}
            for _ in range(args.rounds):
                for run, process in processes.items():
                    best[run] = min(best[run], process.submit(run, net, args).result())
            distances = our_process.submit(first_gradients, net, args).result()
        print(json.dumps({
            "net": net, "reference_s": round(best[time_reference], 2), "ours_s": round(best[time_ours], 2),
            "times_faster": round(best[time_reference] / best[time_ours], 2), **distances,
        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
