"""Torchvision's classifiers by name, weights random: each is read in its middle and at its end, and dreamed with."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import torch
from hooked import read_by_hooks
from torch import Tensor

from dreamjobs.nets import Net, load_net
from dreamjobs.octaves import check, dream, prepare
from dreamjobs.params import make_params
from dreamjobs.presets import PRESETS

LAYERS = {
    "googlenet": "inception4a:3",
    "inception_v3": "Mixed_5c",
    "vgg16": "features.16",
    "vgg19": "features.18",
    "resnet50": "layer2.1",
    "densenet121": "features.denseblock2.denselayer3",
    "squeezenet1_0": "features.7",
    "mobilenet_v3_small": "features.4",
    "efficientnet_b0": "features.3",
    "convnext_tiny": "features.3 + features.1.0.block.4:7",
    "swin_t": "features.1:7",
}
SEES_ALL = {"mobilenet_v3_small", "efficientnet_b0", "swin_t"}

SPLIT = {
    "googlenet": ("conv1", "conv2.bn", "inception3a", "inception4d.branch2.0", "avgpool", "fc"),
    "resnet18": ("conv1", "bn1", "layer1.0.bn1", "layer2.0.downsample", "layer4", "avgpool", "fc"),
    "vgg11": ("features.0", "features.1", "features.8", "avgpool", "classifier.0", "classifier.3", "classifier.6"),
    "mobilenet_v3_small": ("features.0", "features.1.block.0", "features.1.block.1", "features.4", "classifier.3"),
    "efficientnet_b0": ("features.0", "features.1.0.block.0", "features.1.0.block.1", "features.3", "classifier.1"),
    "convnext_tiny": ("features.0", "features.1.0", "features.3", "features.7.2", "classifier.2"),
}

PRESET_CHANNELS = {
    "google2015": {"inception4c": 512},
    "pytorch-deepdream": {"features.22": 512},
    "neural-dream": {"inception4d.branch2.0": 144},
    "tf-tutorial": {"Mixed_6a": 768, "Mixed_6c": 768},
    "hvass": {"inception4a": 512},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small pictures in small tiles: one thread is as fast, and far faster on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.lru_cache(maxsize=1)
def net_of(name: str) -> Net:
    return load_net(name, "random")


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list(LAYERS))
def test_a_net_of_torchvision_dreams(name: str) -> None:
    """By name alone the net gives a finite gradient, by tiles equal to the untiled one, and a dream."""
    params = make_params(
        {"net": name, "objective": LAYERS[name], "octaves": 1, "steps": 1, "tile_size": 64, "jitter": 0}
    )
    net, pixels = net_of(name), picture(97, 120)
    (goal,) = prepare(net, params, pixels)
    assert bool(goal.reader.read_by_head) == (name in SEES_ALL)
    assert len(goal.cut(97, 120)) > 1

    found = goal.gradient(pixels).pixels
    assert found.isfinite().all()
    assert found.abs().max() > 0
    whole = make_params(params.model_dump() | {"tile_size": 4096})
    (untiled,) = prepare(net, whole, pixels)
    assert len(untiled.cut(97, 120)) == 1
    expected = untiled.gradient(pixels)
    assert (found - expected.pixels).abs().max() <= 1e-5 * expected.pixels.abs().max()

    made = dream(pixels, net, params)
    assert made.picture.shape == pixels.shape
    assert not torch.equal(made.picture, pixels)
    assert made.objective[0] == pytest.approx(expected.objective.item(), rel=1e-4)


@pytest.mark.parametrize("name", list(SPLIT))
def test_trunk_and_head_are_the_net(name: str) -> None:
    """Layers of the trunk and of the head, read at once, are those of the untouched module, in-place steps or not."""
    net, layers = net_of(name), SPLIT[name]
    reader, pixels = net.reader(layers), picture(97, 120)
    maps = reader.trunk(pixels)
    found = maps | reader.head(maps)
    expected = read_by_hooks(net, layers, pixels)
    assert any(reader.fields[layer] is not None for layer in layers)
    assert any(reader.fields[layer] is None for layer in layers)
    for layer in layers:
        error = (found[layer] - expected[layer]).abs().max()
        assert error <= 1e-4 * expected[layer].abs().max(), layer
    again = reader(pixels)
    assert tuple(again) == layers
    assert all(torch.equal(again[layer], found[layer]) for layer in layers)


@pytest.mark.parametrize("name", list(SPLIT))
def test_a_layer_and_a_class_at_once(name: str) -> None:
    """An objective of a layer in the trunk and a class in the head has the same gradient by tiles as without."""
    net, pixels = net_of(name), picture(97, 120)
    gradients = []
    for tile_size in (64, 4096):
        params = make_params({"objective": f"{SPLIT[name][0]} + class:7", "tile_size": tile_size})
        (goal,) = prepare(net, params, pixels)
        assert goal.reader.read_by_head
        gradients.append(goal.gradient(pixels))
    tiled, whole = gradients
    assert whole.pixels.abs().max() > 0
    assert (tiled.pixels - whole.pixels).abs().max() <= 1e-5 * whole.pixels.abs().max()
    assert tiled.objective.item() == pytest.approx(whole.objective.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_presets_layers_are_its_nets(name: str) -> None:
    """Each preset's objective is to be had of its net, from layers of the published numbers of channels."""
    params = make_params({"preset": name, "weights": "random"})
    net = net_of(params.net)
    check(net, params)
    (goal,) = prepare(net, params, torch.full((1, 3, 64, 64), 0.5))
    sizes = goal.reader.sizes(320, 320)
    assert {layer: sizes[layer][0] for layer in goal.bound.layers} == PRESET_CHANNELS[name]
    assert all(goal.reader.fields.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swin_t", {"features.0": (96, 4), "features.1": (96, 4), "features.7": (768, 32)}),
        ("convnext_tiny", {"features.1.0.block.1": (96, 4), "features.1.0.block.3": (384, 4), "features.1": (96, 4)}),
    ],
)
def test_channels_are_channels_where_a_net_has_them_last(name: str, expected: dict[str, tuple[int, int]]) -> None:
    """Layers that compute in (N, rows, columns, channels) are listed with their channels and stride."""
    infos = {info.name: info for info in net_of(name).layers()}
    assert {layer: (infos[layer].channels, infos[layer].stride) for layer in expected} == expected
    reader = net_of(name).reader(tuple(expected))
    assert all(value.shape[1] == expected[layer][0] for layer, value in reader(picture(96, 64)).items())


def test_a_layer_with_channels_last_sees_the_picture_evenly() -> None:
    """The gradient of one channel of Swin's first blocks lies over the whole picture, not over some of its rows."""
    params = make_params({"objective": "features.1:7", "tile_size": 4096})
    (goal,) = prepare(net_of("swin_t"), params, picture(96, 128))
    rows = goal.gradient(picture(96, 128)).pixels.abs().amax((0, 1, 3))
    assert rows.min() > 0
