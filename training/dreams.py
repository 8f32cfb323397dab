"""Dreams as matter: a pool of pictures that the teacher and the student dream on while the student learns.

A net's own dreams lie far from photographs, and that is where a student goes wrong unseen. So some pictures of every
batch come from here: a few steps further each time they are drawn, towards classes, layers or channels of the teacher,
or of the student itself, which then learns from the teacher what it has been dreaming.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from training import matter
from training.student import STAGES, activations, normalised

LIFE = 60  # steps at most before a picture is drawn anew
STEP = 0.02
STUDENT_LAYERS = ("mix4c", "mix8a", "mix8c", "mix8d", "mix16a")


def teacher_loudness(teacher: nn.Module, x: Tensor, goals: Tensor) -> Tensor:
    """What each picture's goal asks for: class `goal`, or (under 0) the size of one stage or of channels of it."""
    numbers = sorted(STAGES.values())
    total = x.new_zeros(())
    for number, layer in enumerate(teacher.features):  # type: ignore[arg-type]
        x = layer(x)
        if number in numbers:
            total = total + _layer_part(x, goals, numbers.index(number))
    logits = teacher.classifier[1](x).mean((2, 3))  # type: ignore[index,operator]
    return total + _class_part(logits, goals)


def student_loudness(net: nn.Module, x: Tensor, goals: Tensor) -> Tensor:
    seen = activations(net, x)  # type: ignore[arg-type]
    parts = [_layer_part(seen[name], goals, i) for i, name in enumerate(STUDENT_LAYERS)]
    return sum(parts, _class_part(seen["logits"].mean((2, 3)), goals))


def _layer_part(x: Tensor, goals: Tensor, index: int) -> Tensor:
    size = x.float().square().mean((2, 3))
    channel = size.gather(1, (goals.abs() % x.shape[1])[:, None])[:, 0]
    group = goals % 8  # of those under 0: a stage each
    whole = torch.where(goals % 3 == 0, channel, size.mean(1))
    return (whole * ((goals < 0) & (group == index))).sum()


def _class_part(logits: Tensor, goals: Tensor) -> Tensor:
    return (logits.float().gather(1, goals.clamp(min=0)[:, None])[:, 0] * (goals >= 0)).sum()


def blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)


class Pool:
    """`count` pictures of the bank's size, their goals and ages. `state_dict` restores it."""

    def __init__(self, photos: matter.Photos, bank: matter.Bank, count: int, g: Generator) -> None:
        self.photos, self.bank, self.g = photos, bank, g
        size = bank.size
        self.x = torch.empty(count, 3, size, size)
        self.goals = torch.zeros(count, dtype=torch.long)
        self.life = torch.zeros(count, dtype=torch.long)
        for some in torch.arange(count).split(32):
            self._renew(some)

    def _renew(self, some: Tensor) -> None:
        n = len(some)
        drawings = self.bank.windows(4 + n // 2, self.bank.size)
        self.x[some] = matter.batch(self.photos, drawings, None, 4 + n // 2, self.g)[:n]
        classes = torch.randint(1000, (n,), generator=self.g)
        layers = -1 - torch.randint(4000, (n,), generator=self.g)
        self.goals[some] = torch.where(matter.uniform(self.g, 0, 1, n) < 0.5, classes, layers)
        self.life[some] = torch.randint(4, LIFE, (n,), generator=self.g)

    def step(self, n: int, size: int, loudness: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Dream on `n` of the pictures, in a window of `size`; the windows as they are now (n, 3, size, size)."""
        some = torch.randperm(len(self.x), generator=self.g)[:n]
        room = self.x.shape[-1] - size
        top, left = matter.pick(self.g, room + 1), matter.pick(self.g, room + 1)
        window = self.x[some, :, top : top + size, left : left + size].requires_grad_(True)
        with torch.enable_grad():
            gradient = torch.autograd.grad(loudness(normalised(window), self.goals[some]), window)[0].float()
        smooth = blurred(gradient)
        gradient = gradient + smooth + 2 * blurred(blurred(smooth))
        gradient = gradient / (gradient.abs().mean((1, 2, 3), keepdim=True) + 1e-12)
        now = window.detach() + STEP * gradient.clamp(-4, 4)
        now = (now + 0.05 * (blurred(now) - now)).clamp(0, 1)
        self.x[some, :, top : top + size, left : left + size] = now
        self._grow_older(some)
        return now

    def windows(self, n: int, size: int) -> Tensor:
        """`n` windows of `size` pixels as they are."""
        some = torch.randperm(len(self.x), generator=self.g)[:n]
        room = self.x.shape[-1] - size
        top, left = matter.pick(self.g, room + 1), matter.pick(self.g, room + 1)
        return self.x[some, :, top : top + size, left : left + size]

    def _grow_older(self, some: Tensor) -> None:
        self.life[some] -= 1
        old = some[self.life[some] <= 0]
        if len(old):
            self._renew(old)
        one = some[:1]  # a slow zoom makes large forms of small ones
        size = self.x.shape[-1]
        zoomed = F.interpolate(self.x[one], scale_factor=1.15, mode="bilinear")
        edge = (zoomed.shape[-1] - size) // 2
        self.x[one] = zoomed[:, :, edge : edge + size, edge : edge + size]

    def state_dict(self) -> dict[str, Tensor]:
        return {"x": self.x, "goals": self.goals, "life": self.life}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.x, self.goals, self.life = state["x"], state["goals"], state["life"]
