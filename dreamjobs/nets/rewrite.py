"""A net's graph rewritten to compute the same with less work, above all on a CPU.

- The convolution that reads the picture normalises it as well, by its weights and bias, and reads it as it is laid out:
  several passes over the pixels less. Results are equal up to rounding.
- A convolution of stride 2 over pixels becomes one over blocks of 2 x 2 of them (`dreamjobs.nets.blocks`).
- ReLUs before a max pool move behind it, where a quarter of the values is left. Values and gradients are the same bits:
  the largest of some numbers is the same one before and after, and where none is above 0 both give 0.
- A 1 x 1 convolution stays with oneDNN on one thread (`dreamjobs.nets.pointwise`). Results are equal up to rounding.
- A 1 x 1 convolution over joined maps, as between the fire modules of SqueezeNet, becomes one over each of them and a
  sum: the maps, which have many more channels than what it gives, are not copied to be joined, nor their gradients to
  be parted. Results are equal up to rounding.

`before_relus` leaves out the last ReLUs and what joins them, for whoever does better without.
"""

import copy
import functools

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dreamjobs.nets import blocks, pointwise

_RELUS: tuple[object, ...] = (nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
_LAYERS: tuple[object, ...] = (nn.Conv2d, nn.BatchNorm2d, blocks.BlockConv, pointwise.PointwiseConv)
_POOLS: tuple[object, ...] = (nn.MaxPool2d, F.max_pool2d, torch.max_pool2d)


def rewritten(graph: fx.GraphModule) -> fx.GraphModule:
    """The graph, changed in place."""
    for node in list(graph.graph.nodes):
        if _is_pool(graph, node):
            _move_relus_behind(graph, node)
    for node in list(graph.graph.nodes):
        if pointwise.fits(_made(graph, node)):
            _part(graph, node)
    _take_apart(graph)
    for name, module in list(graph.named_modules()):
        if blocks.fits(module):
            graph.set_submodule(name, blocks.BlockConv(module))
        elif pointwise.fits(module):
            graph.set_submodule(name, pointwise.PointwiseConv(module))
    graph.graph.lint()
    graph.recompile()
    return graph


def _take_apart(graph: fx.GraphModule) -> None:
    """Give the graph copies of the modules that it calls whole, so that parts of them can be replaced.

    Such a module, as torchvision's convolution with a norm and an activation, is the net's own as well. Weights are
    shared.
    """
    for node in graph.graph.find_nodes(op="call_module"):
        module = graph.get_submodule(str(node.target))
        if any(module.children()):
            graph.set_submodule(str(node.target), _structure(module))


def _structure(module: nn.Module) -> nn.Module:
    """A copy of a module and of those in it, with the same weights."""
    own = copy.copy(module)
    own._modules = {name: child if child is None else _structure(child) for name, child in module._modules.items()}
    return own


def _is_pool(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a max pool that gives its maxima alone."""
    return _is(graph, node, _POOLS) and not getattr(_made(graph, node), "return_indices", False)


def _is(graph: fx.GraphModule, node: fx.Node, kinds: tuple[object, ...]) -> bool:
    made = _made(graph, node)
    return made in kinds or type(made) in kinds


def _made(graph: fx.GraphModule, node: fx.Node) -> object:
    """What a node calls: a module, a function, or a method's name; None if it calls nothing."""
    if node.op == "call_module":
        return graph.get_submodule(str(node.target))
    return node.target if node.op.startswith("call") else None


def _move_relus_behind(graph: fx.GraphModule, pool: fx.Node) -> None:
    """One ReLU behind the pool in place of the one before it, or of those whose channels are joined before it."""
    before = pool.all_input_nodes[0]
    joined = _is(graph, before, (torch.cat,))
    relus = before.all_input_nodes if joined else [before]
    if len(before.users) > 1 or not all(_is_lone_relu(graph, node) for node in relus):
        return
    last = relus[-1]
    pool.replace_all_uses_with(last)
    for relu in relus:
        reader = before if joined else pool
        reader.replace_input_with(relu, relu.all_input_nodes[0])
    last.replace_input_with(last.all_input_nodes[0], pool)
    pool.append(last)
    for relu in relus[:-1]:
        graph.graph.erase_node(relu)


def _is_lone_relu(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a ReLU that one other reads, of what it alone reads and may change: a layer's, not a view."""
    if not _is(graph, node, _RELUS):
        return False
    (before,) = node.all_input_nodes
    alone = len(node.users) == len(before.users) == 1 and _is(graph, before, _LAYERS)
    return alone and not any(blocks.has_hooks(_made(graph, made)) for made in (node, before))


def _part(graph: fx.GraphModule, node: fx.Node) -> None:
    """In place of a convolution that alone reads some joined maps, the sum of one over each of them."""
    (joined,) = node.all_input_nodes
    sources = _joined(graph, joined) if len(joined.users) == 1 else []
    counts = [_channels(graph, source) for source in sources]
    if not sources or None in counts or not all(_unshared(graph, source) for source in sources):
        return
    conv = graph.get_submodule(str(node.target))
    with graph.graph.inserting_before(node):
        parts = []
        for number, weight in enumerate(conv.weight.split(counts, 1)):  # type: ignore[operator]
            name = f"{node.target}__part{number}"
            graph.add_submodule(name, _pointwise(weight, None if number else conv.bias))  # type: ignore[arg-type]
            parts.append(graph.graph.call_module(name, (sources[number],)))
        total = functools.reduce(lambda one, other: graph.graph.call_function(torch.add, (one, other)), parts)
    node.replace_all_uses_with(total)
    graph.graph.erase_node(node)
    graph.graph.erase_node(joined)


def _joined(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """The maps that a node joins along their channels, if it names them one by one; none for any other node."""
    joins = _is(graph, node, (torch.cat,)) and node.args[1:] == (1,) and isinstance(node.args[0], list | tuple)
    return list(node.args[0]) if joins else []  # type: ignore[arg-type]


def _channels(graph: fx.GraphModule, node: fx.Node) -> int | None:
    """How many channels a node gives, if it is a convolution or a ReLU of one."""
    if _is(graph, node, _RELUS):
        (node,) = node.all_input_nodes
    made = _made(graph, node)
    return made.out_channels if isinstance(made, nn.Conv2d) else None


def _unshared(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether one node alone reads this one, so that nothing changes it in place before the parts read it."""
    return _is_lone_relu(graph, node) if _is(graph, node, _RELUS) else len(node.users) == 1


def _pointwise(weight: Tensor, bias: nn.Parameter | None) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    conv.weight, conv.bias = nn.Parameter(weight.detach().clone(), requires_grad=False), bias
    return conv


def before_relus(graph: fx.GraphModule) -> fx.GraphModule | None:
    """A graph that returns a mapping of layers, cut before its last ReLUs.

    For every layer it gives the maps whose ReLUs, side by side along the channels, are the layer; weights are shared.
    None if a layer is made otherwise, or something else reads one of these maps.
    """
    (output,) = graph.graph.find_nodes(op="output")
    ends = {name: _relus_of(graph, node) for name, node in output.args[0].items()}
    every = [relu for relus in ends.values() for relu in relus]
    if not all(ends.values()) or len(set(every)) < len(every):
        return None
    copied: dict[fx.Node, fx.Node] = {}
    cut = fx.Graph()
    cut.graph_copy(graph.graph, copied)
    cut.output({name: tuple(copied[relu.all_input_nodes[0]] for relu in relus) for name, relus in ends.items()})
    module = fx.GraphModule(graph, cut)
    cut.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()


def _relus_of(graph: fx.GraphModule, layer: fx.Node) -> list[fx.Node]:
    """The ReLUs that a layer is, or joins; none if it is anything else."""
    relus = (_joined(graph, layer) if len(layer.users) == 1 else []) or [layer]
    return relus if all(_is_lone_relu(graph, relu) for relu in relus) else []


def normalising(graph: fx.GraphModule, mean: Tensor, std: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Let the convolution that alone reads the picture normalise it too; the mean and deviation that are left to do.

    Where it pads with zeros the mean is left, since the picture's border would be padded with black.
    """
    (picture,) = graph.graph.find_nodes(op="placeholder")
    reader = next(iter(picture.users), picture)
    conv = _made(graph, reader)
    if len(picture.users) > 1 or type(conv) is not nn.Conv2d or conv.groups > 1 or _called(graph, reader) > 1:
        return mean, std
    own = copy.deepcopy(conv).requires_grad_(False)
    own.weight.div_(std)
    padded = own.padding != (0, 0)
    if not padded:
        shift = (own.weight * mean).sum((1, 2, 3))
        own.bias = nn.Parameter(-shift if own.bias is None else own.bias - shift, requires_grad=False)
    graph.set_submodule(str(reader.target), own)
    return mean if padded else None, None


def _called(graph: fx.GraphModule, node: fx.Node) -> int:
    """How often the module that a node calls is called."""
    return len(graph.graph.find_nodes(op="call_module", target=node.target))
