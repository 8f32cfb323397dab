"""Nets in which a position's own place in the picture counts are not taken to see a small part of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from unit.test_octaves import goal, photograph

from dreamjobs.nets import load_net

pytestmark = pytest.mark.usefixtures("one_thread")


class Placed(nn.Module):
    """Between two convolutions a step that depends on where in the picture a position is, or on all of the picture."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.first, self.joined = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(5, 4, 1)
        self.norm, self.second = nn.InstanceNorm2d(4), nn.Conv2d(4, 4, 3, stride=2)
        self.register_buffer("gain", torch.linspace(0.5, 2, 4).view(4, 1, 1))
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        across = torch.linspace(0, 1, x.shape[3], device=x.device)
        down = torch.linspace(0, 1, x.shape[2], device=x.device).view(-1, 1)
        x = {
            "times_x": lambda: x * across,
            "plus_y": lambda: x + down,
            "with_y_and_x": lambda: self.joined(torch.cat([x, (down * across)[None, None]], 1)),
            "channels_last": lambda: (x.permute(0, 2, 3, 1) * across[:, None]).permute(0, 3, 1, 2),
            "spread": lambda: x * x[:, :, :1],
            "of_its_own_mean": lambda: self.norm(x),
            "times_gain": lambda: x * self.gain * 0.5 + self.gain[None],
        }[self.step]()
        return self.second(x)


def times_x() -> nn.Module:
    return Placed("times_x")


def plus_y() -> nn.Module:
    return Placed("plus_y")


def with_y_and_x() -> nn.Module:
    return Placed("with_y_and_x")


def channels_last() -> nn.Module:
    return Placed("channels_last")


def spread() -> nn.Module:
    return Placed("spread")


def of_its_own_mean() -> nn.Module:
    return Placed("of_its_own_mean")


def times_gain() -> nn.Module:
    return Placed("times_gain")


STEPS = ["times_x", "plus_y", "with_y_and_x", "channels_last", "of_its_own_mean", "times_gain"]


@pytest.mark.parametrize("step", STEPS)
def test_a_net_that_knows_its_place_is_given_the_whole_picture(step: str) -> None:
    """Tiles give the whole gradient where a map is joined with coordinates; a factor for each channel is no such."""
    net = load_net(f"{__name__}:{step}", "random")
    picture = photograph(96, 101)
    tiled = goal(net, picture, objective="first + second", tile_size=32)
    whole = goal(net, picture, objective="first + second", tile_size=512)
    assert len(tiled.cut(96, 101)) > len(whole.cut(96, 101)) == 1
    assert (tiled.reader.fields["second"] is None) == (step != "times_gain")
    wanted = whole.gradient(picture).pixels
    assert wanted.abs().max() > 0
    assert (tiled.gradient(picture).pixels - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_row_that_is_spread_over_the_picture_is_seen_from_everywhere() -> None:
    """A map times its own first row has no small field: every position sees that row."""
    fields = {info.name: info.field for info in load_net(f"{__name__}:spread", "random").layers()}
    assert fields["first"] is not None
    assert fields["second"] is None
