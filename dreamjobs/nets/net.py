"""A net with its weights: its layers, its classes, and readers of some of its layers."""

import contextlib
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx
from torch.fx.experimental.optimization import fuse

from dreamjobs import tiles
from dreamjobs.errors import NetError
from dreamjobs.heap import keep_freed
from dreamjobs.nets.load import build, fetch_weights, labels, preprocessing
from dreamjobs.nets.reader import TRACE_SIZE, Reader
from dreamjobs.nets.rewrite import normalising, rewritten
from dreamjobs.params import DEFAULT_NET, nearest
from dreamjobs.weights import Weights

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


class Net:
    """A net with its weights, on a device, frozen. Long-lived: an actor holds one and dreams many pictures with it."""

    def __init__(self, name: str, weights: Weights, device: str = "cpu") -> None:
        self.name, self.digest, self.device = name, weights.digest, torch.device(device)
        if self.device.type == "cpu":
            keep_freed()
        elif self.device.type == "cuda":
            # Else a card's convolutions keep 10 bits of what is said to be float32; who wants speed has bfloat16.
            torch.backends.cudnn.allow_tf32 = False
        # On the device from the start: readers share its parameters, and one that brought them there would leave the
        # next with a net on two devices.
        self._module = build(name, weights).to(self.device)
        expects = preprocessing(self._module)
        self._mean, self._std = (torch.tensor(values).view(1, 3, 1, 1).to(self.device) for values in expects)
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
        height, _ = TRACE_SIZE
        for name, value in reader.maps_of_empty(*TRACE_SIZE).items():
            infos.append(LayerInfo(name, value[0], round(height / value[1]), reader.fields[name]))
        return infos

    def _reader(self, layers: tuple[str, ...], precision: Precision = "float32", *, fold: bool = True) -> Reader:
        """A reader of these layers, its forward pass cut after the deepest; `fold` off where only sizes are asked."""
        from torchvision.models.feature_extraction import create_feature_extractor

        nodes = {name: self.layer(name) for name in layers}
        with _quiet_tracing(self.name):
            graph = create_feature_extractor(self._module, {node: node for node in nodes.values()})
        _return(graph, nodes)
        left: tuple[Tensor | None, ...] = self._mean, self._std
        if fold:
            # In place is safe: the graph has parents of its own, and folding replaces the leaves it shares with us.
            graph = cast(fx.GraphModule, fuse(graph.eval(), inplace=True, no_trace=True))
            if precision == "float32":
                left = normalising(graph, self._mean, self._std)
            graph = rewritten(graph)
        graph = graph.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        reader = Reader(graph, tuple(layers), left[0], left[1], _DTYPES[precision])
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
