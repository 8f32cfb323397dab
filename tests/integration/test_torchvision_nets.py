"""Torchvision's classifiers by name: each can be read at a middle layer and dreamed with, weights random."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dreamjobs.nets import load_net
from dreamjobs.octaves import dream, gradient, prepare
from dreamjobs.params import make_params

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
    "convnext_tiny": "features.3 + features.1",
}
TILED = set(LAYERS) - {"mobilenet_v3_small", "efficientnet_b0"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small pictures in small tiles: one thread is as fast, and far faster on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", list(LAYERS))
def test_a_net_of_torchvision_dreams(name: str) -> None:
    """By name alone the net gives a finite gradient, equal by tiles where its field is finite, and a dream."""
    params = make_params(
        {"net": name, "objective": LAYERS[name], "octaves": 1, "steps": 1, "tile_size": 64, "jitter": 0}
    )
    net = load_net(name, "random")
    picture = torch.rand(1, 3, 97, 120, generator=torch.Generator().manual_seed(0))
    plan = prepare(net, params)
    assert (plan.reader.tiling_layers(97, 120) is not None) == (name in TILED)

    found = gradient(picture, plan).pixels
    assert found.isfinite().all()
    assert found.abs().max() > 0
    whole = picture.clone().requires_grad_()
    value = plan.objective.part(plan.reader(whole), plan.reader.sizes(97, 120))
    (untiled,) = torch.autograd.grad(value, whole)
    assert (found - untiled).abs().max() <= 1e-5 * untiled.abs().max()

    made = dream(picture, net, params)
    assert made.picture.shape == picture.shape
    assert not torch.equal(made.picture, picture)
    assert made.objective[0] == pytest.approx(value.item(), rel=1e-4)
