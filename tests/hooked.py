"""A net's layers read by hooks on the untouched module: what the nets' readers are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dreamjobs.nets import Net, fetch_weights
from dreamjobs.nets.load import build, preprocessing


def read_by_hooks(net: Net, layers: tuple[str, ...], pixels: Tensor) -> dict[str, Tensor]:
    """The layers' activations (N, channels, rows, columns) with random weights, copied the moment they are made."""
    module = build(net.name, fetch_weights(net.name, "random"))
    found: dict[str, Tensor] = {}
    for name in layers:
        module.get_submodule(name).register_forward_hook(_keep(found, name))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in preprocessing(module))
    module((pixels - mean) / std)
    return {name: value if value.ndim == 4 else value[:, :, None, None] for name, value in found.items()}


def _keep(found: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(module: Any, inputs: Any, output: Tensor) -> None:
        found[name] = output.clone()

    return keep
