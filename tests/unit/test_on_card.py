"""All ways to dream keep what they compute with on one device; it is played, since no test has a graphics card."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from unit.played_card import CARD, played_card

from dreamjobs import load_net, octaves
from dreamjobs.fanout import dream as fanout
from dreamjobs.images import Samples
from dreamjobs.params import make_params

pytestmark = pytest.mark.usefixtures("one_thread")

ROUNDING = 1e-5
SIZE = (190, 210)

PIXELS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "uint8": lambda random: random.integers(0, 256, (1, 3, *SIZE), np.uint8),
    "uint16": lambda random: random.integers(0, 65_536, (1, 3, *SIZE), np.uint16),
    "float32": lambda random: random.random((1, 3, *SIZE), np.float32),
}

FANNED = {"fan_out_mpx": 0.0, "fan_out_tile": 256, "fan_out_overlap": 64, "octaves": 1}

DREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in PIXELS},
    "uncut": ("uint8", {"tile_size": 1024}),
    "capped": ("uint8", {"overlap": 0}),
    "adam": ("uint8", {"optimizer": "adam"}),
    "momentum": ("uint8", {"optimizer": "momentum"}),
    "std": ("uint8", {"normalize": "std"}),
    "rms": ("uint8", {"normalize": "rms"}),
    "laplacian": ("uint8", {"normalize": "laplacian"}),
    "smoothing": ("uint8", {"smoothing": 1.0}),
    "mask": ("uint8", {"mask": "a.png"}),
    "colours": ("uint8", {"keep_colors": True}),
    "noise": ("uint8", {"start": "noise"}),
    "natural": ("uint8", {"start": "natural"}),
    "blend": ("uint16", {"start": "blend", "blend": 0.2}),
    "turns": ("uint8", {"jitter_rotate": 10.0, "jitter_scale": 0.1}),
    "until": ("uint8", {"until": 0.01}),
    "rescale": ("uint8", {"rescale": "picture"}),
    "bfloat16": ("uint8", {"precision": "bfloat16", "objective": "parts | edges"}),
    "channels": ("uint8", {"objective": "parts:strong(3) - edges:-1"}),
    "spot": ("uint8", {"objective": "things:3@0.5,0.5"}),
    "guide": ("uint8", {"objective": "guide(parts, a.png)"}),
    "style": ("uint8", {"objective": "style(parts, a.png)"}),
    "class": ("uint8", {"objective": "class:3"}),
    "penalties": ("uint8", {"objective": "mean(parts) - 5*tv - l2"}),
    "fan": ("uint8", FANNED),
    "fan, masked": ("uint8", FANNED | {"mask": "a.png", "smoothing": 1.0, "sync_steps": 2}),
    "fan, guided": ("uint8", FANNED | {"objective": "guide(parts, a.png)"}),
    "squeezenet1_0": ("uint8", {"net": "squeezenet1_0", "objective": "features.5 | features.3"}),
    "resnet18": ("uint8", {"net": "resnet18", "objective": "layer1.0.conv1 | layer2"}),
    "mobilenet": ("uint8", {"net": "mobilenet_v3_small", "objective": "features.2 | features.4"}),
    "dreamnet": ("uint8", {"net": "dreamnet", "objective": "mix4b | stem", "precision": "bfloat16"}),
}


def dreamed(kind: str, values: dict[str, Any], device: str) -> Tensor:
    """What a device makes of a picture."""
    params = make_params(
        {"net": "tiny", "objective": "parts", "octaves": 2, "steps": 2, "tile_size": 96, "jitter": 7} | values
    )
    picture = PIXELS[kind](np.random.default_rng(1))
    net = load_net(params.net, "default" if params.net in ("tiny", "dreamnet") else "random", device=device)
    if params.fan_out_mpx is None:
        return octaves.dream(torch.from_numpy(picture), net, params, read=read).picture
    samples = np.ascontiguousarray(picture[0].transpose(1, 2, 0).repeat(2, 0).repeat(2, 1))
    return fanout.dream(Samples(samples, None, None, "png"), net, params, read=read).picture


def read(name: str) -> bytes:
    """The picture that a mask, a guide and a style are."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 70, 3), np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(("kind", "values"), DREAMS.values(), ids=DREAMS)
def test_a_dream_on_another_device_is_the_dream(kind: str, values: dict[str, Any]) -> None:
    """Nothing is computed from tensors of two devices, and the picture is the CPU's but for rounding."""
    with played_card():
        found = dreamed(kind, values, "cuda")
    assert (found - dreamed(kind, values, "cpu")).abs().max() <= ROUNDING


def test_what_is_computed_from_two_devices_is_seen() -> None:
    """The played card refuses what a card would, and computes what it has to itself."""
    with played_card():
        ours = torch.ones(3).to("cuda")
        assert ours.device == CARD
        assert (ours + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="of tensors on"):
            ours + torch.ones(3)
