"""Which of the things that enter the arithmetic change a dream's bytes? Tried, not guessed.

    python benchmarks/bytes.py [--size HxW] [NET:OBJECTIVE ...]

For each net: one gradient and a dream of 20 steps on a seeded noise picture, done again with one thing changed. The
table says how far the gradient moved (relative norm) and whether the dreamed pixels are the same to the last bit.
"""

import argparse
import multiprocessing
import platform
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs.nets import Net, load_net
from dreamjobs.objectives.terms import View
from dreamjobs.octaves import Goal, dream, prepare
from dreamjobs.octaves.start import Size, parse_size
from dreamjobs.params import DEFAULT_OBJECTIVE, make_params
from dreamjobs.worker import versions

NETS = [
    f"dreamnet:{DEFAULT_OBJECTIVE}",
    "squeezenet1_0:features.9",
    "googlenet:inception4c",
    "resnet50:layer2",
    "vgg16:features.15",
]


@dataclass(frozen=True)
class Case:
    """One way to do the same work."""

    name: str
    threads: int = 1
    tile_size: int = 1024
    other_process: bool = False


CASES = [
    Case("done again"),
    Case("in another process", other_process=True),
    Case("2 threads in place of 1", threads=2),
    Case("tiles of 128 in place of one", tile_size=128),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="301x401", help="height x width of the picture")
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET:OBJECTIVE")
    asked = parser.parse_args()
    size = parse_size(asked.size)
    print(platform.processor() or platform.machine(), versions(), sep="\n")
    print("| net, objective | changed | gradient moved by | same pixels after 20 steps |\n|---|---|---|---|")
    for name in asked.nets:
        reference = result(name, size, Case("reference"))
        for case in CASES:
            moved, same = compare(reference, in_process(name, size, case))
            print(f"| {name} | {case.name} | {moved:.1e} | {'yes' if same else 'no'} |", flush=True)
        moved, _ = compare(reference, (batch_gradient(name, size), reference[1]))
        print(f"| {name} | in a batch of 2 in place of alone | {moved:.1e} | |", flush=True)


def in_process(name: str, size: Size, case: Case) -> tuple[Tensor, Tensor]:
    if not case.other_process:
        return result(name, size, case)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return tuple(map(torch.from_numpy, pool.apply(as_arrays, (name, size, case))))  # type: ignore[return-value]  # a map of three


def as_arrays(name: str, size: Size, case: Case) -> list[object]:
    return [value.numpy() for value in result(name, size, case)]


def result(name: str, size: Size, case: Case) -> tuple[Tensor, Tensor]:
    """The first gradient, and the dreamed picture."""
    torch.set_num_threads(case.threads)
    net, objective = load(name)
    params = make_params({"objective": objective, "octaves": 2, "steps": 10, "tile_size": case.tile_size})
    (goal,) = prepare(net, params, picture(size))
    return goal.gradient(picture(size)).pixels, dream(picture(size), net, params).picture


def batch_gradient(name: str, size: Size) -> Tensor:
    """The same picture's gradient when it shares a forward pass with another."""
    torch.set_num_threads(1)
    net, objective = load(name)
    (goal,) = prepare(net, make_params({"objective": objective}), picture(size))
    both = torch.cat([picture(size), picture(size, 1)]).requires_grad_()
    value = local_value(goal, {layer: values[:1] for layer, values in goal.reader(both).items()})
    return torch.autograd.grad(value, both)[0][:1]


def local_value(goal: Goal, activations: dict[str, Tensor]) -> Tensor:
    """What an objective of layers and channels is worth on a whole picture's activations."""
    views = {layer: View(*values.shape[2:], 0, 0) for layer, values in activations.items()}
    return torch.stack([term.part(activations[term.layer], views[term.layer]) for term in goal.bound.local]).sum()


def load(name: str) -> tuple[Net, str]:
    net, _, objective = name.partition(":")
    return load_net(net, "default" if net == "dreamnet" else "random"), objective


def picture(size: Size, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def compare(reference: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[float, bool]:
    moved = float((other[0] - reference[0]).norm() / reference[0].norm())
    return moved, bool(torch.equal(other[1], reference[1]))


if __name__ == "__main__":
    main()
