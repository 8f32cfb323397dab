"""Layers whose maps lie otherwise are turned to (N, channels, rows, columns), as all that reads them takes them.

Swin computes in (N, rows, columns, channels), and so do the blocks of ConvNeXt. Which axis is which is found by running
the net, on tensors without data, on a picture and on one with the sides exchanged; no table of nets.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn


def upright(graph: fx.GraphModule, size: tuple[int, int]) -> fx.GraphModule:
    """A graph that returns a mapping of layers, changed in place so that each that is a map of the picture is upright.

    `size` is the first picture's (h, w), with h well above w. What does not grow with the picture is left as it is.
    """
    (output,) = graph.graph.find_nodes(op="output")
    layers: dict[str, fx.Node] = output.args[0]
    one, other = (_shapes(graph, sides) for sides in (size, size[::-1]))
    turned: dict[fx.Node, fx.Node] = {}
    for name, node in layers.items():
        order = _order(one[name], other[name]) if name in one else None
        if order and node not in turned:
            turned[node] = _turned(graph.graph, node, order)
    output.args = ({name: turned.get(node, node) for name, node in layers.items()},)
    graph.recompile()
    return graph


def on_meta(module: nn.Module, *inputs: Tensor) -> Any:
    """Run a module on tensors without data, in no time and no memory."""
    named = [*module.named_parameters(), *module.named_buffers()]
    state = {name: torch.empty_like(value, device="meta") for name, value in named}
    with torch.no_grad():
        return torch.func.functional_call(module, state, inputs)


class _Interpreted(nn.Module):
    """Runs a graph without the code that torch makes of it, which prints a traceback where it fails."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, picture: Tensor) -> Any:
        return fx.Interpreter(self.graph).run(picture)


def _shapes(graph: fx.GraphModule, size: tuple[int, int]) -> dict[str, torch.Size]:
    found: Mapping[str, Any] = on_meta(_Interpreted(graph), torch.empty(1, 3, *size, device="meta"))
    return {name: value.shape for name, value in found.items() if isinstance(value, Tensor)}


def _order(one: torch.Size, other: torch.Size) -> tuple[int, ...] | None:
    """How to permute the axes of a map; None if it is upright, or no map. y is the side that shrank, x that grew."""
    rows = [axis for axis, (before, after) in enumerate(zip(one, other, strict=True)) if before > after]
    columns = [axis for axis, (before, after) in enumerate(zip(one, other, strict=True)) if before < after]
    if len(one) != 4 or len(rows) != 1 or len(columns) != 1 or 0 in (*rows, *columns):
        return None
    (channels,) = {1, 2, 3} - {*rows, *columns}
    order = (0, channels, *rows, *columns)
    return None if order == (0, 1, 2, 3) else order


def _turned(graph: fx.Graph, node: fx.Node, order: tuple[int, ...]) -> fx.Node:
    """A node behind another that gives its map upright: a copy, since the net's next step may be in place."""
    with graph.inserting_after(node):
        view = graph.call_method("permute", (node, order))
    with graph.inserting_after(view):
        return graph.call_method("clone", (view,))
