"""Readers run a picture forward to some layers of a net and no deeper.

Pictures come in as (N, 3, h, w) float32 RGB in [0, 1]; normalisation happens inside, as far as the net's first
convolution does not see to it. A reader's batch norms are folded into the convolutions before them and its tensors are
channels-last, which gives the same activations to about 1e-6 and is 2 to 3 times faster on a CPU. With
`precision="bfloat16"` the net computes in that, about twice as fast again where the hardware does; what comes in and
out, and the normalisation, stay float32.
"""

import copy
import functools
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx

from dreamjobs import tiles
from dreamjobs.errors import NetError
from dreamjobs.nets.rewrite import before_relus
from dreamjobs.nets.split import Halves, split
from dreamjobs.nets.upright import on_meta, upright

_LARGEST_LEAST_SIDE = 1024
TRACE_SIZE = (1056, 992)


class Reader:
    """Runs pictures forward to `layers`; made by `Net.reader`.

    `trunk` and `head` are the two halves of that (see `split`), for whoever computes the trunk by tiles.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        layers: tuple[str, ...],
        mean: Tensor | None,
        std: Tensor | None,
        dtype: torch.dtype,
    ) -> None:
        self._mean, self._std, self._dtype = mean, std, dtype
        self._halves = _split(graph) if dtype == torch.float32 else _in_dtype(_split(graph), dtype)
        plain = dtype == torch.float32 and self._halves.head is None
        self._before_relus = before_relus(self._halves.trunk) if plain else None
        self.layers = tuple(name for name in layers if name in self._halves.names)
        self.read_by_head = self._halves.read
        self.fields = {name: self._halves.fields.get(name) for name in self.layers}
        self.least_side = self._find_least_side()
        self.sizes = functools.lru_cache(maxsize=256)(self._sizes)

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Layer name -> activations (N, channels, rows, columns) of a picture (N, 3, h, w) in [0, 1]."""
        maps = self.trunk(picture)
        found = maps | self.head({name: maps[name] for name in self.read_by_head})
        return {name: found[name] for name in self.layers}

    def trunk(self, picture: Tensor) -> dict[str, Tensor]:
        """The maps that see a part of the picture: layers, and those in `read_by_head`."""
        maps = {name: values.float() for name, values in self._halves.trunk(self._normalised(picture)).items()}
        for values in maps.values():
            if values.requires_grad:
                # What is read by slices or by index has a gradient laid out otherwise, and so would the layers before.
                values.register_hook(lambda slope: slope.contiguous(memory_format=torch.channels_last))
        return maps

    @property
    def ends_in_relus(self) -> bool:
        """Whether `before_relus` can be had."""
        return self._before_relus is not None

    def before_relus(self, picture: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Layer -> the maps (N, channels, rows, columns) whose ReLUs, side by side along the channels, are the layer.

        They are the caller's to overwrite: nothing else reads them, nor keeps them for a gradient.
        """
        if self._before_relus is None:
            raise NetError(f"{', '.join(self.layers)}: not every layer ends in ReLUs of convolutions")
        return self._before_relus(self._normalised(picture))  # type: ignore[no-any-return]

    def _normalised(self, picture: Tensor) -> Tensor:
        # A view in place of nothing, since torch's counter of operations wants no leaf for a module's input.
        pixels = picture.view_as(picture) if self._mean is None else picture - self._mean
        return pixels if self._std is None else (pixels / self._std).to(self._dtype, memory_format=torch.channels_last)

    def head(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The layers that see all of the picture, from the trunk's maps of all of it."""
        if self._halves.head is None:
            return {}
        # A clone, since its first step may be in place.
        out = self._halves.head(*(maps[name].to(self._dtype, copy=True) for name in self.read_by_head))
        return {name: _as_map(name, value).float() for name, value in out.items()}

    def tiling_layers(self, height: int, width: int) -> dict[str, tiles.Layer]:
        """What `tiles.cut` needs to know of the trunk's maps for a picture of this size."""
        sizes = self.sizes(height, width)
        return {name: tiles.Layer(field, *sizes[name][1:]) for name, field in self._halves.fields.items()}

    def _sizes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """Name -> (channels, rows, columns) of all layers and trunk maps for a picture of this size."""
        return {name: _size(_as_map(name, value)) for name, value in self._run_empty(height, width).items()}

    def maps_of_empty(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """Layer -> (channels, rows, columns) for those that are maps, not vectors or a transformer's tokens."""
        found = self._run_empty(height, width)
        maps = {name: value for name in self.layers if isinstance(value := found[name], Tensor) and value.ndim == 4}
        return {name: _size(value) for name, value in maps.items() if value[0, 0].numel() > 1}

    def _run_empty(self, height: int, width: int) -> dict[str, Tensor]:
        out = on_meta(self._halves.trunk, torch.empty(1, 3, height, width, device="meta", dtype=self._dtype))
        if self._halves.head is None:
            return out  # type: ignore[no-any-return]
        return out | on_meta(self._halves.head, *(out[name] for name in self.read_by_head))  # type: ignore[no-any-return]

    def _find_least_side(self) -> int:
        """The smallest side, in pixels, of a square picture for which every layer has a position."""
        low, high = 0, _LARGEST_LEAST_SIDE
        while high - low > 1:
            middle = (low + high) // 2
            if self._works(middle):
                high = middle
            else:
                low = middle
        return high

    def _works(self, side: int) -> bool:
        try:
            out = self._run_empty(side, side)
        except (RuntimeError, ValueError):
            return False
        return all(value.numel() for value in out.values() if isinstance(value, Tensor))


def _split(graph: fx.GraphModule) -> Halves:
    try:
        return split(upright(graph, TRACE_SIZE), TRACE_SIZE)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise NetError(f"this net takes no picture of any size, so it cannot dream: {reason}") from None


def _in_dtype(halves: Halves, dtype: torch.dtype) -> Halves:
    """A copy that computes in another type: layers without batch norms are shared with the net itself."""
    trunk, head = copy.deepcopy((halves.trunk, halves.head))
    return replace(halves, trunk=trunk.to(dtype), head=head.to(dtype) if head else None)


def _as_map(name: str, activations: Tensor) -> Tensor:
    """Activations as (N, channels, rows, columns): a classifier's (N, channels) are one position.

    Raises:
        NetError: for any other shape, such as a transformer's tokens.
    """
    if activations.ndim == 2:
        return activations[:, :, None, None]
    if activations.ndim != 4:
        raise NetError(f"layer {name!r} gives {activations.ndim} axes; a map over the picture has 4, logits have 2")
    return activations


def _size(activations: Tensor) -> tuple[int, int, int]:
    return tuple(activations.shape[1:])  # type: ignore[return-value]
