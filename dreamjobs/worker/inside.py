"""What a layer holds: how many channels, how they respond to a photograph, and the dream that shows each.

The responses are maps (rows, columns), here brought to the photograph's proportions; the dreams are parameters for
jobs like any other. Pictures are float32 RGB (h, w, 3) in [0, 1].
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dreamjobs import images
from dreamjobs.errors import NetError, ParamsError
from dreamjobs.images.sheet import cell_side
from dreamjobs.jobs import NO_PHOTOGRAPH
from dreamjobs.storage import read_url
from dreamjobs.worker.dreamer import Dreamer, Library, best_device

if TYPE_CHECKING:
    from torch import Tensor

    from dreamjobs.nets import Net

Picture = NDArray[np.float32]

_SHOWN_SIDE = 256

# Chosen by eye on the built-in net, layers of strides 4 to 16: bands of equal strength keep colour and form alike,
# steps that fade away leave no grain, and three sizes make forms larger than those of one.
_FEATURE: dict[str, Any] = {
    "start": "natural",
    "octaves": 3,
    "octave_scale": 1.6,
    "steps": 40,
    "step_size": 0.008,
    "schedule": "linear",
    "normalize": "laplacian",
    "smoothing": 0.4,
    "jitter": 8,
    "jitter_scale": 0.05,
    "jitter_rotate": 5.0,
}
FEATURE_PARAMS: Mapping[str, Any] = MappingProxyType(_FEATURE)
"""The parameters of a picture that shows what a channel responds to, `size` and `objective` left out."""

_GIVEN = ("net", "weights", "objective", "size", "frames")


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """How one channel responds: its mean over the photograph, and its map, grey, white where it is largest."""

    channel: int
    mean: float
    picture: Picture


@dataclass(frozen=True, eq=False)
class Responses:
    """A photograph, and the channels of a layer of `channels` that respond most to it, strongest first."""

    photo: Picture
    channels: int
    maps: tuple[ChannelMap, ...]


@dataclass(frozen=True)
class FilterRows:
    """Some channels of a layer that has `count`: image -> channel, and image -> the parameters that dream it."""

    count: int
    channels: Mapping[str, int]
    rows: Mapping[str, Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """8 hex digits that tell these rows from others."""
        text = json.dumps({image: dict(cells) for image, cells in self.rows.items()}, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def responses(image: str, net: "Net", layer: str, *, top: int, side: int) -> Responses:
    """How a layer's channels respond to a photograph (a path or `s3://` url), the `top` ones of the largest mean.

    The photograph is brought to at most `side` pixels first, which bounds memory. A map shows what is above 0.

    Raises:
        NetError: for a layer that the net lacks, or one that gives no map.
        InputError, StorageError: for a photograph that cannot be read.
    """
    reader = net.reader((layer,))
    photo = images.fit(images.decode(read_url(image)), side)
    _, rows, columns = reader.sizes(*_at_least(reader.least_side, photo.height, photo.width))[layer]
    if rows * columns == 1:
        raise NetError(
            f"layer {layer!r} of {net.name!r} gives one number a channel for a photograph of {photo.height} x "
            f"{photo.width} pixels (h x w), not a map: take a layer before it, a larger --side, or `dreamjobs classify`"
        )
    found = _activations(net, layer, photo.pixels)
    means = found.mean((1, 2))
    chosen = means.topk(min(top, len(means))).indices.tolist()
    shown = images.fit(photo, cell_side(len(chosen) + 1, _SHOWN_SIDE)).pixels
    maps = [ChannelMap(channel, means[channel].item(), _grey(found[channel], shown)) for channel in chosen]
    return Responses(shown, len(means), tuple(maps))


def open_net(net: str, weights: str) -> "Net":
    """A net by name, on the best device there is.

    Raises:
        NetError, NotFoundError, AccessError, StorageError
    """
    return Dreamer(best_device()).net(net, Library().weights(net, weights))


def channel_count(net: "Net", layer: str) -> int:
    """How many channels a layer has; a layer of numbers, such as logits, has them too.

    Raises:
        NetError: for a layer that the net lacks, or one of another shape.
    """
    reader = net.reader((layer,))
    return reader.sizes(reader.least_side, reader.least_side)[layer][0]


def parse_channels(text: str, count: int) -> list[int]:
    """The channels in `0-15,40`, in ascending order, each once; all of them for an empty text.

    Raises:
        ParamsError: if the text is something else, or names a channel that a layer of `count` does not have.
    """
    chosen: set[int] = set()
    for part in text.split(",") if text.strip() else [f"0-{count - 1}"]:
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not first.isdecimal() or not (last if dash else first).isdecimal():
            raise ParamsError(f"--channels {text!r}: {part!r} is no channel; numbers and ranges are, such as 0-15,40")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or numbers[-1] >= count:
            raise ParamsError(f"--channels {text!r}: {part!r} is refused; the layer's channels are 0 to {count - 1}")
        chosen.update(numbers)
    return sorted(chosen)


def filter_rows(
    net: str, weights: str, layer: str, *, channels: str, size: int, settings: Mapping[str, Any]
) -> FilterRows:
    """What dreams a layer's channels (`0-15,40`; empty for all) from noise; `settings` go over `FEATURE_PARAMS`.

    A net that is code is left out of the rows, since a manifest may not name it.

    Raises:
        ParamsError: for channels that the layer does not have, or settings that the rows have of themselves.
        NetError, NotFoundError, AccessError, StorageError
    """
    for name in _GIVEN:
        if name in settings:
            raise ParamsError(f"{name}: {settings[name]!r} is refused; the command's other arguments say what it is")
    count = channel_count(open_net(net, weights), layer)
    chosen = {f"{NO_PHOTOGRAPH}{layer}-{channel:04}": channel for channel in parse_channels(channels, count)}
    shared = {} if ":" in net else {"net": net}
    shared |= {"weights": weights, **FEATURE_PARAMS, "size": str(size), **settings}
    rows = {image: {**shared, "objective": f"{layer}:{channel}"} for image, channel in chosen.items()}
    return FilterRows(count, chosen, rows)


def _at_least(least: int, height: int, width: int) -> tuple[int, int]:
    return max(least, height), max(least, width)


def _activations(net: "Net", layer: str, pixels: Picture) -> "Tensor":
    """A layer's activations (C, rows, columns) over a picture, on the CPU."""
    import torch
    import torch.nn.functional as F

    reader = net.reader((layer,))
    height, width = _at_least(reader.least_side, *pixels.shape[:2])
    padding = (0, width - pixels.shape[1], 0, height - pixels.shape[0])
    picture = F.pad(torch.tensor(pixels).permute(2, 0, 1)[None], padding, mode="replicate")
    with torch.no_grad():
        return reader(picture.to(net.device))[layer][0].float().cpu()


def _grey(activations: "Tensor", like: Picture) -> Picture:
    """A map (rows, columns) as a grey picture of another's size, its largest value white, 0 and less black."""
    import torch.nn.functional as F

    scaled = activations.clamp_min(0) / activations.max().clamp_min(1e-12)
    plane = F.interpolate(scaled[None, None], like.shape[:2], mode="bilinear", antialias=True, align_corners=False)
    return np.broadcast_to(plane[0, 0, :, :, None].numpy(), like.shape)
