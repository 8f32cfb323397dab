"""What an objective's names stand for: the net's classes and layers, the photograph's channels, and files.

A picture named in an objective (a guide, a style) and the photograph, where its channels are ranked, are brought to 512
pixels on their longer side before the net looks at them.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamjobs import images
from dreamjobs.errors import ObjectiveError
from dreamjobs.nets import Net
from dreamjobs.octaves.pictures import resize, size_of, unit

ReadFile = Callable[[str], bytes]
_LONGER_SIDE = 512


def read_local(name: str) -> bytes:
    """The bytes of a local file."""
    return Path(name).read_bytes()


def load_picture(data: bytes) -> Tensor:
    """The picture (1, 3, h, w) in an image file."""
    return torch.tensor(images.decode(data).pixels).permute(2, 0, 1)[None]


@dataclass(frozen=True)
class Looking:
    """The names of an objective over a net and a photograph (1, 3, h, w); `labels` is a file of the classes' names."""

    net: Net
    photograph: Tensor
    read: ReadFile
    labels: str | None = None

    @property
    def class_layer(self) -> str:
        """The layer whose channels are the classes' logits."""
        return self.net.class_layer

    def class_index(self, label: str) -> int:
        """The channel of a class given by number or name."""
        if self.labels is None:
            return self.net.class_index(label)
        return self.net.class_index(label, self.read(self.labels).decode(errors="replace").splitlines())

    def channels(self, layer: str) -> int:
        """How many channels a layer has."""
        reader = self.net.reader((layer,))
        return reader.sizes(reader.least_side, reader.least_side)[layer][0]

    def features(self, layer: str, file: str) -> Tensor:
        """A layer's activations (1, C, h, w) over the picture in a file."""
        return self._activations(layer, load_picture(self.read(file)))

    def vector(self, file: str) -> Tensor:
        """The vector (C,) in a file: .npy, .safetensors with one tensor, or a list in JSON."""
        return load_vector(self.read(file), file).to(self.net.device)

    def mean_activation(self, layer: str) -> Tensor:
        """Each channel's mean (C,) over the photograph."""
        return self._activations(layer, self.photograph).mean((0, 2, 3))

    def text_matcher(self, text: str) -> Callable[[Tensor], Tensor]:
        """A function from a picture to its likeness to a text, a scalar."""
        from dreamjobs.nets.clip import text_matcher

        return text_matcher(text, self.net.device)

    def _activations(self, layer: str, picture: Tensor) -> Tensor:
        reader = self.net.reader((layer,))
        scale = min(1.0, _LONGER_SIDE / max(picture.shape[2:]))
        height, width = (max(reader.least_side, round(side * scale)) for side in size_of(picture))
        if (height, width) != size_of(picture):
            picture = resize(picture, (height, width)).clamp(0, 1)
        with torch.no_grad():
            return reader(unit(picture).to(self.net.device))[layer]


def load_vector(data: bytes, name: str) -> Tensor:
    """The vector in a file's bytes; its name's extension says of what kind.

    Raises:
        ObjectiveError: if the file does not hold one vector of numbers.
    """
    try:
        vector = _parse_vector(data, name)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise ObjectiveError(f"{name!r} holds no vector: {error}") from None
    if vector.ndim != 1:
        raise ObjectiveError(f"{name!r} holds an array of shape {tuple(vector.shape)}; a vector has one axis")
    return vector


def _parse_vector(data: bytes, name: str) -> Tensor:
    kind = name.rpartition(".")[2].lower()
    if kind == "npy":
        return torch.from_numpy(np.load(io.BytesIO(data), allow_pickle=False)).float()
    if kind == "safetensors":
        from safetensors.torch import load

        (vector,) = load(data).values()
        return vector.float()
    if kind == "json":
        return torch.tensor(json.loads(data), dtype=torch.float32)
    raise ValueError("allowed are .npy, .safetensors and .json")
