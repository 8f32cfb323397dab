"""The student while it learns: `DreamNet` with linear maps to the teacher's features, and the loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamjobs.nets.dreamnet import DreamNet

STAGES = {"mix4c": 5, "mix8a": 7, "mix8c": 9, "mix8d": 10, "mix16a": 12}  # the student's: the teacher's features.N
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def normalised(x: Tensor) -> Tensor:
    """ImageNet's normalisation of RGB in [0, 1], channels last."""
    return ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def activations(net: DreamNet, x: Tensor) -> dict[str, Tensor]:
    """The output of every named layer; `logits` and `scores` are maps, before the mean."""
    seen = {}
    for name, layer in net.named_children():
        x = layer(x)
        seen[name] = x
    return seen


class Student(nn.Module):
    """A `DreamNet` and, where a stage has other channels than the teacher's `channels`, a linear map to those."""

    def __init__(self, channels: dict[str, int]) -> None:
        super().__init__()
        self.net = DreamNet()
        own = {name: getattr(self.net, name).outputs for name in STAGES}
        other = [name for name in STAGES if own[name] != channels[name]]
        self.adapters = nn.ModuleDict({name: nn.Conv2d(own[name], channels[name], 1) for name in other})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = activations(self.net, x)
        maps = {name: self.adapters[name](seen[name]) if name in self.adapters else seen[name] for name in STAGES}
        return {name: m.float() for name, m in (maps | {"logits": seen["scores"]}).items()}


def teacher_activations(teacher: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The teacher's outputs under the student's names; `logits` is its class map after its ReLU."""
    seen, names = {}, {number: name for name, number in STAGES.items()}
    for number, layer in enumerate(teacher.features):  # type: ignore[arg-type]
        x = layer(x)
        if number in names:
            seen[names[number]] = x
    seen["logits"] = teacher.classifier[2](teacher.classifier[1](x))  # type: ignore[index,operator]
    return seen


def aligned(mine: Tensor, theirs: Tensor) -> Tensor:
    """The part of the student's map that sees what the teacher's map sees, for pictures of even sides.

    That is all of it, or all but a last row and column.
    """
    return mine[:, :, : theirs.shape[2], : theirs.shape[3]].float()


def relative_error(mine: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared error over the teacher's mean square, a picture at a time; quiet pictures are not blown up."""
    theirs = theirs.float()
    square = theirs.square().mean((1, 2, 3))
    error = (aligned(mine, theirs) - theirs).square().mean((1, 2, 3))
    return (error / (square + 0.3 * square.mean())).mean() * 1.3


def distance(mine: dict[str, Tensor], theirs: dict[str, Tensor], temperature: float = 2.0) -> dict[str, Tensor]:
    """Every term of the loss by name: the stages, the class map (`logits`) and the class probabilities (`kl`)."""
    terms = {name: relative_error(mine[name], theirs[name]) for name in theirs}
    p = F.log_softmax(theirs["logits"].float().mean((2, 3)) / temperature, 1)
    q = F.log_softmax(mine["logits"].float().mean((2, 3)) / temperature, 1)
    terms["kl"] = F.kl_div(q, p, reduction="batchmean", log_target=True) * temperature**2
    return terms
