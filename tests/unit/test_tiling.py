"""How a picture is tiled: overlaps that cost no more than they may, and tiles that go through the net together."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from unit.cramped import cramped
from unit.test_octaves import TINY, goal, params, photograph, png

from dreamjobs.nets import load_net
from dreamjobs.octaves import Goal, dream
from dreamjobs.octaves.gradient import MOST_SEEN
from dreamjobs.octaves.values import whole_value

pytestmark = pytest.mark.usefixtures("one_thread")


def deep() -> nn.Module:
    """A net whose field is wide for its stride: at tiles of 32 pixels, exact crops hold 9 times the picture."""
    layers = [nn.Conv2d(3 if i == 0 else 8, 8, 7, padding=3) for i in range(10)]
    names = (f"layer{i}" for i in range(10))
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


def wide() -> nn.Module:
    """24 convolutions of 7 x 7, whose last sees 72 pixels each way."""
    return nn.Sequential(OrderedDict((f"layer{i}", nn.Conv2d(3, 3, 7, padding=3)) for i in range(24)))


DEEP = load_net(f"{__name__}:deep", "random")
WIDE = (160, 192)


def seen(one: Goal, height: int, width: int) -> float:
    """The pixels of all crops over the picture's."""
    return sum(tile.crop.height * tile.crop.width for tile in one.cut(height, width)) / (height * width)


def deep_goal(picture: Tensor, read: Any = None, **values: Any) -> Goal:
    return goal(DEEP, picture, read, **{"objective": "layer9", "tile_size": 32, **values})


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_auto_is_exact_where_that_is_affordable() -> None:
    """Where exact crops hold up to 3 times the picture, `auto` is `exact` to the last bit and has no error to tell."""
    picture = photograph(128, 96)
    auto = goal(TINY, picture, tile_size=32, overlap="auto")
    assert auto.overlap(128, 96) is None
    assert 1 < seen(auto, 128, 96) <= MOST_SEEN
    exact = goal(TINY, picture, tile_size=32, overlap="exact")
    assert torch.equal(auto.gradient(picture).pixels, exact.gradient(picture).pixels)
    assert auto.overlap_error(picture) is None


def test_auto_sees_as_much_as_it_may_where_exact_would_cost_more() -> None:
    """A wide field is cut off: crops hold at most 3 times the picture, with one more step of the net's grid more."""
    picture = photograph(*WIDE)
    auto, exact = deep_goal(picture, overlap="auto"), deep_goal(picture, overlap="exact")
    halo = auto.overlap(*WIDE)
    assert halo is not None
    assert seen(exact, *WIDE) > MOST_SEEN >= seen(auto, *WIDE)
    assert seen(deep_goal(picture, overlap=halo + 1), *WIDE) > MOST_SEEN


@pytest.mark.parametrize(
    "objective", ["layer9", "layer9:3 + layer4", "style(layer9, wave.png)", "layer9:2@0.5,0.5", "-layer9"]
)
def test_the_error_told_is_near_that_of_the_gradient(objective: str) -> None:
    """What is measured on the middle tile is within a factor of 2 of the whole gradient's relative error."""
    picture, read = photograph(*WIDE), lambda name: png(photograph(40, 50, seed=5))
    exact = deep_goal(picture, read, objective=objective, overlap="exact").gradient(picture).pixels
    for overlap in ("auto", 2, 16):
        one = deep_goal(picture, read, objective=objective, overlap=overlap)
        told = one.overlap_error(picture)
        assert told is not None
        assert 0.5 < told / relative(one.gradient(picture).pixels, exact) < 2


def test_a_halo_that_holds_the_field_has_no_error() -> None:
    """An overlap in pixels that is as wide as the field is exact, and the error told is rounding."""
    picture = photograph(*WIDE)
    assert (deep_goal(picture, overlap=40).overlap_error(picture) or 0) < 1e-5
    assert (deep_goal(picture, overlap=4).overlap_error(picture) or 0) > 1e-3


def test_a_dream_tells_its_error() -> None:
    """The error goes with the dream: of the last octave, None where its gradient is exact."""
    values: dict[str, Any] = {"objective": "layer9", "tile_size": 32, "octaves": 2, "steps": 1}
    capped = dream(photograph(*WIDE), DEEP, params(overlap="auto", **values))
    assert 0 < (capped.overlap_error or 0) < 1
    assert dream(photograph(*WIDE), DEEP, params(overlap="exact", **values)).overlap_error is None
    assert dream(photograph(30, 30), DEEP, params(overlap="auto", **values)).overlap_error is None


def test_the_error_is_told_from_smaller_parts_where_memory_runs_out() -> None:
    """Parts of a quarter of the tile tell the same as halves; where they do not fit either, it is not known."""
    picture = photograph(*WIDE)
    roomy = deep_goal(picture, overlap=4, tile_size=64)
    told = roomy.overlap_error(picture)
    assert told is not None
    assert cramped(roomy, 8000, 1)[0].overlap_error(picture) == pytest.approx(told, rel=1e-3)
    unknown = cramped(roomy, 5500, 1)[0].overlap_error(picture)
    assert unknown is not None
    assert math.isnan(unknown)


def test_a_dream_by_smaller_tiles_tells_their_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 256 pixels are exact by `auto`; those of 128, where not one of them fits, see less, and it is told."""
    from dreamjobs.octaves import loop

    prepare, net = loop.prepare, load_net(f"{__name__}:wide", "random")

    def dreamed(room: int) -> float | None:
        monkeypatch.setattr(loop, "prepare", lambda *given: [cramped(prepare(*given)[0], room, 1)[0]])
        values = params(objective="layer23", overlap="auto", tile_size=256, octaves=1, steps=1, jitter=0)
        return dream(photograph(512, 512), net, values).overlap_error

    assert dreamed(10**9) is None
    assert (dreamed(330 * 320) or 0) > 0


@pytest.mark.parametrize("batch", [2, 3, 5, 64])
@pytest.mark.parametrize("objective", ["things", "edges.0:1 - 2*things", "style(parts, wave.png)", "class:3"])
def test_tiles_together_give_the_gradient_of_tiles_alone(batch: int, objective: str) -> None:
    """However many tiles of one size go through the net at once, gradient and objective are the same to 1e-5."""
    picture, read = photograph(150, 131), lambda name: png(photograph(40, 50, seed=5))
    alone = goal(TINY, picture, read, objective=objective, tile_size=32)
    wanted = alone.gradient(picture)
    together, reader = cramped(alone, 10**9, batch)
    found = together.gradient(picture)
    assert max(reader.batches) > 1
    assert max(reader.batches) <= batch
    assert relative(found.pixels, wanted.pixels) < 1e-5
    assert found.objective.item() == pytest.approx(wanted.objective.item(), rel=1e-5)


@pytest.mark.parametrize("objective", ["things", "style(parts, wave.png)", "class:3"])
def test_out_of_memory_halves_the_batch_and_goes_on(objective: str) -> None:
    """Where a few tiles fit and 9 are asked for, the gradient is the same, and several went together all the same."""
    picture, read = photograph(150, 131), lambda name: png(photograph(40, 50, seed=5))
    alone = goal(TINY, picture, read, objective=objective, tile_size=32)
    together, reader = cramped(alone, 2 * max(tile.crop.height * tile.crop.width for tile in alone.cut(150, 131)), 9)
    assert relative(together.gradient(picture).pixels, alone.gradient(picture).pixels) < 1e-5
    assert 1 < max(reader.batches) < 9


def test_a_tile_that_does_not_fit_is_dreamed_by_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not one tile fits, an octave goes on with tiles of half the side; below 128 pixels there is no going on."""
    from dreamjobs.octaves import loop

    prepare = loop.prepare

    def dreamed(room: int) -> Tensor:
        monkeypatch.setattr(loop, "prepare", lambda *given: [cramped(prepare(*given)[0], room, 1)[0]])
        return dream(photograph(300, 300), TINY, params(tile_size=512, steps=2, jitter=0)).picture

    whole = dreamed(10**9)
    assert (dreamed(160 * 160) - whole).abs().max() < 1e-4
    with pytest.raises(torch.OutOfMemoryError):
        dreamed(64 * 64)


class Layouts(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves this base untyped
    """Counts the ReLU gradients that are computed and those whose values lie otherwise than channels-last."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.all = self.other = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.threshold_backward.default:
            self.all += 1
            self.other += any(values.stride(1) != 1 for values in args[:2])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("tile", [96, 512])
@pytest.mark.parametrize(
    ("net", "objective"),
    [
        ("tiny", "things"),
        ("squeezenet1_0", "features.7"),
        ("squeezenet1_0", "features.7:3"),
        ("squeezenet1_0", "class:3"),
        ("resnet18", "layer2"),
        ("resnet18", "layer2:3@0.5,0.5"),
    ],
)
def test_gradients_stay_channels_last(net: str, objective: str, tile: int) -> None:
    """From the layer down to the pixels, with odd sides: a step would take up to half as long again."""
    loaded = load_net(net, "random")
    picture = photograph(131, 150)
    one = goal(loaded, picture, objective=objective, tile_size=tile, overlap="auto")
    with Layouts() as layouts:
        one.gradient(picture)
    assert layouts.all >= 2
    assert layouts.other == 0


@pytest.mark.parametrize("tile", [64, 512])
@pytest.mark.parametrize(
    ("net", "objective", "ends_in_relus"),
    [
        ("dreamnet", "mix8a", True),
        ("dreamnet", "mix8a.near - 0.5*mix8a.mid", True),
        ("dreamnet", "mix4c.mid.conv", False),
        ("dreamnet", "mix4c + mix8a", False),
        ("squeezenet1_0", "-features.4", True),
        ("resnet18", "layer1", False),
    ],
)
def test_the_square_of_a_layer_before_its_relus_is_that_of_the_layer(
    net: str, objective: str, ends_in_relus: bool, tile: int
) -> None:
    """Where nothing but its square is asked of a layer, its maps are not made whole: the same value and gradient."""
    picture = photograph(131, 150)
    one = goal(
        load_net(net, "default" if net == "dreamnet" else "random"), picture, objective=objective, tile_size=tile
    )
    assert one.reader.ends_in_relus == ends_in_relus
    leaf = picture.clone().requires_grad_()
    maps = one.reader(leaf)
    value = torch.stack([term.weight * maps[term.layer].square().mean() / 2 for term in one.bound.local]).sum()
    found = one.gradient(picture)
    assert relative(found.pixels, torch.autograd.grad(value, leaf)[0]) < 1e-5
    assert found.objective.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("objective", ["mix8a:3", "mix8a:3@0.5,0.5", "mix8a + mix8a:3", "mean(mix8a)", "mix8a + mix8a"])
def test_other_objectives_see_the_layer_itself(objective: str) -> None:
    """Channels, spots and means of a layer that ends in ReLUs have the gradient that follows from its maps."""
    picture = photograph(60, 70)
    one = goal(load_net("dreamnet"), picture, objective=objective, tile_size=512)
    assert one.reader.ends_in_relus
    leaf = picture.clone().requires_grad_()
    value = whole_value(one.bound, one.reader(leaf), (0.0, 0.0))
    assert torch.equal(one.gradient(picture).pixels, torch.autograd.grad(value, leaf)[0])


def unpadded() -> nn.Module:
    """Unpadded windows, whose maps end well before the picture does."""
    layers = [nn.Conv2d(3 if i == 0 else 4, 4, 7) for i in range(10)]
    return nn.Sequential(OrderedDict((f"layer{i}", layer) for i, layer in enumerate(layers)))


@pytest.mark.parametrize(("tile", "overlap", "size"), [(40, "auto", (200, 200)), (32, 16, (160, 192))])
def test_an_overlap_narrower_than_the_edge_that_is_lost_is_no_error(
    tile: int, overlap: str | int, size: tuple[int, int]
) -> None:
    """A tile may own positions that its own crop does not have; it adds what it has."""
    net = load_net(f"{__name__}:unpadded", "random")
    picture = photograph(*size)
    found = goal(net, picture, objective="layer9", tile_size=tile, overlap=overlap).gradient(picture)
    assert found.pixels.isfinite().all()
    assert found.pixels.abs().max() > 0


class Shortened(nn.Module):
    """Maps that lose their last rows and columns on the way, by a slice or by padding that adds some in front."""

    def __init__(self, by_slice: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2)
        self.by_slice = by_slice

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x[:, :, :-3, :-2] if self.by_slice else F.pad(x, (1, -3, 2, -2))
        return self.second(x)


def by_slice() -> nn.Module:
    return Shortened(True)


def by_padding() -> nn.Module:
    return Shortened(False)


@pytest.mark.parametrize("cut", ["by_slice", "by_padding"])
def test_tiles_of_a_net_that_cuts_its_maps_give_the_whole_gradient(cut: str) -> None:
    """Each tile's crop loses its last positions as well, which the overlap makes up for."""
    net = load_net(f"{__name__}:{cut}", "random")
    picture = photograph(96, 101)
    tiled = goal(net, picture, objective="second", tile_size=32, overlap="exact")
    whole = goal(net, picture, objective="second", tile_size=512)
    assert len(tiled.cut(96, 101)) > len(whole.cut(96, 101)) == 1
    assert relative(tiled.gradient(picture).pixels, whole.gradient(picture).pixels) < 1e-5
