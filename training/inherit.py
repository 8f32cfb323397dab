"""The student's first weights, drawn from the teacher's: each convolution is fitted to what its model there computes.

The student's first blocks are narrower, so each keeps the channels of its model that best predict the others (pivoted
QR of the activations), and a ridge regression from what the student itself has so far finds the weights that give them
(He, Zhang, Sun: Channel Pruning, 2017). Its later blocks have the teacher's shapes: they are fitted around its weights.
Learning from there starts with what the teacher learned of a million photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.student import STAGES, Student, aligned

MODELS = {"mix4a": 3, "mix4b": 4, "mix4c": 5, "mix8a": 7, "mix8b": 8, "mix8c": 9, "mix8d": 10, "mix16a": 12}
SAMPLES = 200_000
RIDGE = 3e-3


@dataclass(frozen=True)
class Pair:
    """A convolution of the student, the map that goes into it, the teacher's one and its map before its ReLU."""

    conv: nn.Conv2d
    inputs: Tensor
    model: nn.Conv2d | None
    target: Tensor


def inherit(student: Student, teacher: nn.Module, x: Tensor) -> None:
    """Fit all convolutions of the student in order, then its adapters, on the normalised pictures `x`."""
    net, generator = student.net, np.random.default_rng(0)
    with torch.no_grad():
        theirs = teacher.features[0](x)  # type: ignore[index,operator]
        _fit(Pair(net.stem.conv, x, None, theirs), generator)
        mine = net.pool4(net.stem(x))
        number = 1
        for name, layer in list(net.named_children())[2:-2]:
            if name in MODELS:
                while number < MODELS[name]:
                    theirs = teacher.features[number](theirs)  # type: ignore[index,operator]
                    number += 1
                for pair in _pairs(layer, mine, teacher.features[number], theirs):  # type: ignore[index]
                    _fit(pair, generator)
            mine = layer(mine)
            if name in student.adapters:
                after = teacher.features[STAGES[name]](theirs)  # type: ignore[index,operator]
                _fit(Pair(student.adapters[name], mine, None, after), generator)  # type: ignore[arg-type]
        scores = teacher.classifier[1]  # type: ignore[index]
        _fit(Pair(net.logits, mine, scores, scores(teacher.features[12](theirs))), generator)  # type: ignore


def _pairs(block: nn.Module, mine: Tensor, fire: nn.Module, theirs: Tensor) -> Iterator[Pair]:
    """A block's convolutions beside those of its model, a fire module; lazily, since each needs those before it."""
    squeezed = fire.squeeze(theirs)  # type: ignore[operator]
    yield Pair(block.reduce.conv, mine, fire.squeeze, squeezed)  # type: ignore[union-attr,arg-type]
    reduced, squeezed = block.reduce(mine), squeezed.relu()  # type: ignore[operator]
    near, mid = fire.expand1x1(squeezed), fire.expand3x3(squeezed)  # type: ignore[operator]
    yield Pair(block.near.conv, reduced, fire.expand1x1, near)  # type: ignore[arg-type]
    yield Pair(block.mid.conv, reduced, fire.expand3x3, mid)  # type: ignore[arg-type]


def _fit(pair: Pair, generator: np.random.Generator) -> None:
    """Set the weights of `pair.conv` so that it gives the most telling channels of the target.

    Where the teacher's convolution has the same shape, its weights are what the ridge shrinks to: what the pictures do
    not tell is kept.
    """
    conv = pair.conv
    size, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    patches = F.unfold(pair.inputs, size, padding=padding, stride=stride)
    rows, columns = ((side + 2 * padding - size) // stride + 1 for side in pair.inputs.shape[2:])
    patches = patches.view(*patches.shape[:2], rows, columns)
    count = pair.target[:, 0].numel()
    some = torch.from_numpy(generator.permutation(count)[:SAMPLES])
    seen, wanted = _rows(aligned(patches, pair.target), some), _rows(pair.target, some)
    wanted = wanted[:, _telling(wanted, conv.out_channels)]
    seen = np.concatenate([seen, np.ones((len(seen), 1))], 1)
    known = _known(pair)
    square = seen.T @ seen
    error = seen.T @ (wanted - seen @ known)
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    weights = torch.from_numpy(known + scipy.linalg.solve(square, error, assume_a="pos")).float().T
    conv.weight.copy_(weights[:, :-1].reshape(conv.weight.shape))
    conv.bias.copy_(weights[:, -1])  # type: ignore[union-attr]


def _known(pair: Pair) -> np.ndarray:
    """The teacher's weights and, in the last row, biases (inputs + 1, outputs); zeros where shapes differ."""
    conv, model = pair.conv, pair.model
    if model is None or model.weight.shape != conv.weight.shape:
        return np.zeros((conv.weight[0].numel() + 1, conv.out_channels))
    both = torch.cat([model.weight.flatten(1), model.bias[:, None]], 1)  # type: ignore[index]
    return both.T.double().numpy()  # type: ignore[no-any-return]


def _rows(maps: Tensor, some: Tensor) -> np.ndarray:
    """(N, C, h, w) as one row a position, of some positions."""
    rows = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    return rows[some].double().numpy()  # type: ignore[no-any-return]


def _telling(wanted: np.ndarray, count: int) -> np.ndarray:
    """The channels that, after their ReLU, predict the others best: pivoted QR takes the least predicted next."""
    if count == wanted.shape[1]:
        return np.arange(count)
    _, pivots = scipy.linalg.qr(np.maximum(wanted, 0), mode="r", pivoting=True)
    return np.sort(pivots[:count])
