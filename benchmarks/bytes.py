"""Which of the things that enter the arithmetic change a dream's bytes? Tried, not guessed.

    python benchmarks/bytes.py [NET:LAYER ...]

For each net: one gradient and a dream of 20 steps on a seeded noise picture, done again with one thing changed. The
table says how far the gradient moved (relative norm) and whether the dreamed pixels are the same to the last bit.
"""

import multiprocessing
import platform
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamjobs.nets import Net, load_net
from dreamjobs.octaves import dream, gradient, prepare
from dreamjobs.params import make_params
from dreamjobs.worker import versions

NETS = ["dreamnet:mix8d", "squeezenet1_0:features.9", "googlenet:inception4c", "resnet50:layer2", "vgg16:features.15"]
SIZE = (301, 401)


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
    print(platform.processor() or platform.machine(), versions(), sep="\n")
    print("| net, layer | changed | gradient moved by | same pixels after 20 steps |\n|---|---|---|---|")
    for name in sys.argv[1:] or NETS:
        reference = result(name, Case("reference"))
        for case in CASES:
            moved, same = compare(reference, in_process(name, case))
            print(f"| {name} | {case.name} | {moved:.1e} | {'yes' if same else 'no'} |", flush=True)
        moved, _ = compare(reference, (batch_gradient(name), reference[1]))
        print(f"| {name} | in a batch of 2 in place of alone | {moved:.1e} | |", flush=True)


def in_process(name: str, case: Case) -> tuple[Tensor, Tensor]:
    if not case.other_process:
        return result(name, case)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return tuple(map(torch.from_numpy, pool.apply(as_arrays, (name, case))))  # type: ignore[return-value]


def as_arrays(name: str, case: Case) -> list[object]:
    return [value.numpy() for value in result(name, case)]


def result(name: str, case: Case) -> tuple[Tensor, Tensor]:
    """The first gradient, and the dreamed picture."""
    torch.set_num_threads(case.threads)
    net, objective = load(name)
    params = make_params({"objective": objective, "octaves": 2, "steps": 10, "tile_size": case.tile_size})
    first = gradient(picture(), prepare(net, params)).pixels
    return first, dream(picture(), net, params).picture


def batch_gradient(name: str) -> Tensor:
    """The same picture's gradient when it shares a forward pass with another."""
    torch.set_num_threads(1)
    net, objective = load(name)
    plan = prepare(net, make_params({"objective": objective}))
    both = torch.cat([picture(), picture(1)]).requires_grad_()
    whole = plan.reader.sizes(*SIZE)
    owned = {layer: value[:1] for layer, value in plan.reader(both).items()}
    return torch.autograd.grad(plan.objective.part(owned, whole), both)[0][:1]


def load(name: str) -> tuple[Net, str]:
    net, _, objective = name.partition(":")
    return load_net(net, "default" if net == "dreamnet" else "random"), objective


def picture(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def compare(reference: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[float, bool]:
    moved = float((other[0] - reference[0]).norm() / reference[0].norm())
    return moved, bool(torch.equal(other[1], reference[1]))


if __name__ == "__main__":
    main()
