"""A traced net cut in two: the trunk, whose maps see a part of the picture, and the head, which sees all of it.

The trunk is computed by tiles; the head (global pooling and what follows, a transformer's attention) on the assembled
maps that it reads, which are small. So no objective is too large for memory that the trunk's tiles are not, and a
class is dreamed on a picture of any size as if there were no tiles.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dreamjobs.nets.rules import Reach
from dreamjobs.nets.trace import FieldTracer
from dreamjobs.nets.upright import on_meta
from dreamjobs.tiles import Field

_LARGER = (77, 95)  # pixels: whatever sides are padded to multiples of, it is not for both as before


@dataclass(frozen=True)
class Halves:
    """`trunk(picture)` -> maps by name: layers, and what the head reads; `head(maps)` -> the other layers.

    `fields` has every map of the trunk; `read` names those that the head reads, `names` all maps and
    layers. There may be no head.
    """

    trunk: fx.GraphModule
    head: fx.GraphModule | None
    fields: Mapping[str, Field]
    read: tuple[str, ...]
    names: frozenset[str]


def split(graph: fx.GraphModule, size: tuple[int, int]) -> Halves:
    """Cut a graph that returns a mapping of layers; what each node sees is found on pictures of `size` (h, w) and near.

    A node that gives no tensor is no layer, and neither half returns it.
    """
    fields = _fields(graph, size)
    (output,) = graph.graph.find_nodes(op="output")
    layers: dict[str, fx.Node] = output.args[0]
    local = {name: node for name, node in layers.items() if fields.get(node)}
    whole = {name: node for name, node in layers.items() if node in fields and name not in local}
    border = _border(list(whole.values()), fields)
    read = {f"@{node.name}": node for node in border}
    returned = local | read
    return Halves(
        trunk=_trunk(graph, returned),
        head=_head(graph, whole, read) if whole else None,
        fields={name: field for name, node in returned.items() if (field := fields[node])},
        read=tuple(read),
        names=frozenset(returned) | frozenset(whole),
    )


class _Watched(nn.Module):
    """Runs a graph node by node and notes what each node's map sees of the picture."""

    def __init__(self, graph: fx.GraphModule, tracer: FieldTracer) -> None:
        super().__init__()
        self.graph = graph
        self.tracer = tracer
        self.reaches: dict[fx.Node, Reach] = {}

    def forward(self, picture: Tensor) -> Any:
        watched = self

        class Watcher(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                value = super().run_node(n)
                if isinstance(value, Tensor):
                    watched.reaches[n] = watched.tracer.reach(value)
                return value

        return Watcher(self.graph, garbage_collect_values=False).run(picture)


def _fields(graph: fx.GraphModule, size: tuple[int, int]) -> dict[fx.Node, Field | None]:
    """What every node sees that gives a tensor; None for all of the picture, or for what is no map of it.

    What is another for a picture a little larger was made with its size, as by padding to a multiple: a tile would be
    given its own.
    """
    found = other = _reaches(graph, size)
    with suppress(RuntimeError, ValueError, AssertionError):  # who takes no such size pads nothing to one that it takes
        other = _reaches(graph, (size[0] + _LARGER[0], size[1] + _LARGER[1]))
    return {node: reach.field if other.get(node) == reach else None for node, reach in found.items()}


def _reaches(graph: fx.GraphModule, size: tuple[int, int]) -> dict[fx.Node, Reach]:
    tracer = FieldTracer()
    picture = torch.empty(1, 3, *size, device="meta")
    watched = _Watched(graph, tracer)
    with tracer:
        tracer.start(picture)
        on_meta(watched, picture)
    return watched.reaches


def _border(ends: list[fx.Node], fields: Mapping[fx.Node, Field | None]) -> list[fx.Node]:
    """The nodes that see a part of the picture and are read by what sees all of it, on the way to `ends`."""
    found: dict[fx.Node, None] = {}
    seen, left = set(ends), list(ends)
    while left:
        for node in left.pop().all_input_nodes:
            if fields.get(node):
                found[node] = None
            elif node not in seen:
                seen.add(node)
                left.append(node)
    return list(found)


def _trunk(graph: fx.GraphModule, returned: Mapping[str, fx.Node]) -> fx.GraphModule:
    copied: dict[fx.Node, fx.Node] = {}
    trunk = fx.Graph()
    trunk.graph_copy(graph.graph, copied)
    trunk.output({name: copied[node] for name, node in returned.items()})
    _protect(trunk)
    module = fx.GraphModule(graph, trunk)
    trunk.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()


def _head(graph: fx.GraphModule, whole: Mapping[str, fx.Node], read: Mapping[str, fx.Node]) -> fx.GraphModule:
    head = fx.Graph()
    copied = {node: head.placeholder(node.name) for node in read.values()}
    needed = _needed(list(whole.values()), set(read.values()))
    for node in graph.graph.nodes:
        if node in needed:
            copied[node] = head.node_copy(node, copied.__getitem__)
    head.output({name: copied[node] for name, node in whole.items()})
    _protect(head)
    return fx.GraphModule(graph, head).eval()


def _needed(ends: list[fx.Node], border: set[fx.Node]) -> set[fx.Node]:
    seen, left = set(ends), list(ends)
    while left:
        new = [node for node in left.pop().all_input_nodes if node not in border and node not in seen]
        seen.update(new)
        left += new
    return seen


def _protect(graph: fx.Graph) -> None:
    """Where the net goes on from a returned node, return a copy of it, since the next step may be in place."""
    (output,) = graph.find_nodes(op="output")
    for node in output.all_input_nodes:
        if len(node.users) > 1:
            with graph.inserting_after(node):
                copy = graph.call_method("clone", (node,))
            output.replace_input_with(node, copy)
