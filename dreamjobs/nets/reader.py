"""A loaded net, and readers that run a picture forward to some of its layers and no deeper.

Pictures come in as (N, 3, h, w) float32 RGB in [0, 1]; normalisation happens inside. A reader's batch norms are
folded into the convolutions before them and its tensors are channels-last, which gives the same activations to
about 1e-6 and is 2 to 3 times faster on a CPU. With `precision="bfloat16"` the net computes in that, about twice as
fast again where the hardware does; what comes in and out, and the normalisation, stay float32.
"""

import contextlib
import copy
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx
from torch.fx.experimental.optimization import fuse

from dreamjobs import tiles
from dreamjobs.errors import NetError
from dreamjobs.nets.load import build, fetch_weights, labels, preprocessing
from dreamjobs.nets.rewrite import rewritten
from dreamjobs.nets.split import Halves, on_meta, split
from dreamjobs.params import DEFAULT_NET, nearest
from dreamjobs.weights import Weights

_LARGEST_LEAST_SIDE = 1024
_TRACE_SIZE = (1056, 992)
_READERS_KEPT = 8

Precision = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LayerInfo:
    """What a layer is: `field` is None where a position sees the whole picture."""

    name: str
    channels: int
    stride: int
    field: tiles.Field | None


class Reader:
    """Runs pictures forward to `layers`; made by `Net.reader`.

    `trunk` and `head` are the two halves of that (see `split`), for whoever computes the trunk by tiles.
    """

    def __init__(
        self, graph: fx.GraphModule, layers: tuple[str, ...], mean: Tensor, std: Tensor, dtype: torch.dtype
    ) -> None:
        self._mean, self._std, self._dtype = mean, std, dtype
        self._halves = _split(graph) if dtype == torch.float32 else _in_dtype(_split(graph), dtype)
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
        normalised = ((picture - self._mean) / self._std).to(self._dtype, memory_format=torch.channels_last)
        maps = {name: values.float() for name, values in self._halves.trunk(normalised).items()}
        for values in maps.values():
            if values.requires_grad:
                # What is read by slices or by index has a gradient laid out otherwise, and so would the layers before.
                values.register_hook(lambda slope: slope.contiguous(memory_format=torch.channels_last))
        return maps

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
        except RuntimeError:
            return False
        return all(value.numel() for value in out.values() if isinstance(value, Tensor))


def _split(graph: fx.GraphModule) -> Halves:
    try:
        return split(graph, _TRACE_SIZE)
    except (RuntimeError, AssertionError) as error:
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


class Net:
    """A net with its weights, on a device, frozen. Long-lived: an actor holds one and dreams many pictures with it."""

    def __init__(self, name: str, weights: Weights, device: str = "cpu") -> None:
        self.name, self.digest, self.device = name, weights.digest, torch.device(device)
        self._module = build(name, weights)
        self._mean, self._std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in preprocessing(self._module)
        )
        self.reader = functools.lru_cache(maxsize=_READERS_KEPT)(self._reader)

    @functools.cached_property
    def nodes(self) -> list[str]:
        """The names of the traced net's nodes, in the order in which they are computed."""
        from torchvision.models.feature_extraction import get_graph_node_names

        with _quiet_tracing(self.name):
            return get_graph_node_names(self._module)[1]  # type: ignore[no-any-return]

    def layer(self, name: str) -> str:
        """The node that a layer's name stands for: itself, or the last one of a module.

        Raises:
            NetError: naming the nearest layer.
        """
        nodes = [node for node in self.nodes[1:] if node == name or node.startswith(name + ".")]
        if not nodes:
            raise NetError(f"net {self.name!r} has no layer {name!r}{nearest(name, self.layer_names())}")
        return nodes[-1]

    @property
    def class_layer(self) -> str:
        """The layer to dream classes with, its channels their logits: the output, unless the module names another."""
        return str(getattr(self._module, "class_layer", self.output))

    @property
    def output(self) -> str:
        """The layer that the net ends with, by which it tells classes."""
        return self.nodes[-1]

    @functools.cached_property
    def labels(self) -> list[str]:
        """The names of the classes, in the order of the logits; none where they are not known."""
        return labels(self.name)

    def class_index(self, label: str, names: Sequence[str] | None = None) -> int:
        """The number of a class, given by its number or its name, case and underscores apart.

        `names` are the classes' names where they are not `labels`.

        Raises:
            NetError: naming the nearest class.
        """
        if label.isdecimal():
            return int(label)
        names = [_plain(name) for name in (self.labels if names is None else names)]
        if _plain(label) not in names:
            raise NetError(f"net {self.name!r} knows no class {label!r}{nearest(_plain(label), names)}")
        return names.index(_plain(label))

    def layer_names(self) -> list[str]:
        """The layers worth naming: the modules of the first two levels and their children that nodes end."""
        names: dict[str, None] = {}
        for node in self.nodes[1:]:
            parts = node.split(".")
            for depth in range(1, len(parts) + 1):
                names[".".join(parts[:depth])] = None
        return list(names)

    def layers(self) -> list[LayerInfo]:
        """Every layer that is a map over the picture, in order, blocks before their parts."""
        infos = []
        reader = self._reader(tuple(self.layer_names()), fold=False)
        height, _ = _TRACE_SIZE
        for name, value in reader.maps_of_empty(*_TRACE_SIZE).items():
            infos.append(LayerInfo(name, value[0], round(height / value[1]), reader.fields[name]))
        return infos

    def _reader(self, layers: tuple[str, ...], precision: Precision = "float32", *, fold: bool = True) -> Reader:
        """A reader of these layers, its forward pass cut after the deepest; `fold` off where only sizes are asked."""
        from torchvision.models.feature_extraction import create_feature_extractor

        nodes = {name: self.layer(name) for name in layers}
        with _quiet_tracing(self.name):
            graph = create_feature_extractor(self._module, {node: node for node in nodes.values()})
        _return(graph, nodes)
        if fold:
            # In place is safe: the graph has parents of its own, and folding replaces the leaves it shares with us.
            graph = rewritten(cast(fx.GraphModule, fuse(graph.eval(), inplace=True, no_trace=True)))
        graph = graph.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        reader = Reader(graph, tuple(layers), self._mean, self._std, _DTYPES[precision])
        if fold and len(reader.layers) < len(layers):
            (name, *_) = set(layers) - set(reader.layers)
            raise NetError(f"{name!r} is no layer of net {self.name!r} but a size that it computes with")
        return reader


def _return(graph: fx.GraphModule, nodes: dict[str, str]) -> None:
    """Let a graph that returns nodes by their own names return them by these, in this order."""
    (output,) = graph.graph.find_nodes(op="output")
    found: Any = output.args[0]
    output.args = ({name: found[node] for name, node in nodes.items()},)
    graph.recompile()


def _plain(label: str) -> str:
    return label.lower().replace("_", " ")


@contextlib.contextmanager
def _quiet_tracing(name: str) -> Iterator[None]:
    """Trace without torchvision's warning about training mode; a net that cannot be traced is an input error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (fx.proxy.TraceError, TypeError) as error:
            raise NetError(f"net {name!r} cannot be traced by torch.fx: {error}") from None


def load_net(name: str = DEFAULT_NET, weights: str = "default", *, device: str = "cpu") -> Net:
    """A net by name, with its weights, ready to dream.

    `name` is the built-in net, a torchvision classifier, or `module:callable` for a net of your own; `weights` is as
    in `DreamParams`, with local files only. `device` is torch's: `cpu`, `cuda`, `cuda:1`.

    Raises:
        NetError: for an unknown net, or weights that cannot be had or do not fit.
    """
    return Net(name, fetch_weights(name, weights), device)
