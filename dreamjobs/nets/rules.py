"""How an elementary operation changes what an entry sees of the picture: convolutions and pools by their kernel, stride
and padding, pointwise operations not at all.

Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill 2019. An operation that is not
known here is taken to see the whole picture, so that an unknown net is never tiled wrongly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dreamjobs.tiles import Axis, Field

aten = torch.ops.aten


@dataclass(frozen=True)
class Reach:
    """What an entry of a tensor sees, and which of the tensor's axes are y and x.

    `field` is None where an entry sees the whole picture. `packed` is the shape from before y and x were flattened
    into axis 0, as `linear` does with everything but the channels. `numbers` stands for those that pads and pointwise
    operations were given on the way: where they differ for pictures of two sizes, entries see how large theirs is.
    """

    field: Field | None
    y: int = 2
    x: int = 3
    packed: tuple[int, ...] | None = None
    numbers: int = 0

    @property
    def places(self) -> tuple[int, ...]:
        """The axes along which the picture lies."""
        return (self.y, self.x) if self.packed is None else (0,)


WHOLE = Reach(None)
PIXEL = Reach(Field(Axis(1, 1, 0), Axis(1, 1, 0)))


def after(
    func: Any, args: tuple[Any, ...], tensors: list[Tensor], sources: list[tuple[Tensor, Reach]], out: Any
) -> Reach:
    """The reach of an operation's results; `sources` are those of its tensors that are made from the picture."""
    tensor, first = sources[0]
    if any(reach.field is None for _, reach in sources):
        return WHOLE
    packet = func.overloadpacket
    if _is_pointwise(func):
        return _side_by_side(tensors, sources, out)
    if packet is aten.cat:
        axis = args[1] if len(args) > 1 else 0
        return _side_by_side(tensors, sources, out) if axis % out.ndim not in first.places else WHOLE
    if len(sources) > 1 or packet not in _RULES:
        return WHOLE
    return _RULES[packet](first, tensor, args, out)  # type: ignore[no-any-return]  # a table of functions


def takes_numbers(func: Any) -> bool:
    """Whether it is no matter of an operation's shapes alone what numbers it is given."""
    return _is_pointwise(func) or func.overloadpacket is aten.constant_pad_nd


def _is_pointwise(func: Any) -> bool:
    return torch.Tag.pointwise in func.tags or func.overloadpacket in _POINTWISE


def _side_by_side(tensors: list[Tensor], sources: list[tuple[Tensor, Reach]], out: Tensor) -> Reach:
    """The reach of entries made from those at the same place in several tensors.

    What is not made from the picture may not vary over it, since a crop would be given the values of another place;
    what is made from it may not be spread over it.
    """
    reach = _union([reach for _, reach in sources])
    if reach.field is None or any(tensor.ndim != out.ndim for tensor, _ in sources):
        return WHOLE
    made = {id(tensor) for tensor, _ in sources}
    for axis in reach.places:
        for tensor in tensors:
            if _extent(tensor, axis - out.ndim) != (out.shape[axis] if id(tensor) in made else 1):
                return WHOLE
    return reach


def _extent(tensor: Tensor, axis: int) -> int:
    """A tensor's size along an axis that is counted from the last, as broadcasting does."""
    return tensor.shape[axis] if -axis <= tensor.ndim else 1


def _union(reaches: list[Reach]) -> Reach:
    """The reach of an entry that is made from entries at the same place in several tensors."""
    first = reaches[0]
    field = first.field
    for other in reaches[1:]:
        if (other.y, other.x, other.packed) != (first.y, first.x, first.packed):
            return WHOLE
        if field is None or other.field is None:
            return WHOLE
        y, x = _union_axis(field.y, other.field.y), _union_axis(field.x, other.field.x)
        field = Field(y, x) if y and x else None
    return replace(first, field=field) if field else WHOLE


def _union_axis(one: Axis, other: Axis) -> Axis | None:
    if one.jump != other.jump:
        return None
    padding = max(one.padding, other.padding)
    return Axis(padding + max(one.size - one.padding, other.size - other.padding), one.jump, padding)


def _slide(axis: Axis, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    """The field after a window of `kernel` taps has slid along the axis."""
    return Axis(
        axis.size + (kernel - 1) * dilation * axis.jump,
        axis.jump * stride,
        axis.padding + padding * axis.jump,
    )


def _window(reach: Reach, windows: Sequence[Sequence[int]]) -> Reach:
    """`windows`: kernel, stride, padding and dilation, each for (y, x) or for both at once."""
    if reach.field is None or (reach.y, reach.x) != (2, 3):
        return WHOLE
    y, x = (
        _slide(axis, *(pair[index % len(pair)] for pair in windows))
        for index, axis in enumerate((reach.field.y, reach.field.x))
    )
    return replace(reach, field=Field(y, x))


def _convolution(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    _, weight, _, stride, padding, dilation, transposed = args[:7]
    return WHOLE if transposed else _window(reach, [tuple(weight.shape[2:]), stride, padding, dilation])


def _pool(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Any) -> Reach:
    kernel = args[1]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    padding = args[3] if len(args) > 3 else [0]
    return _window(reach, [kernel, stride, padding, [1]])


def _max_pool(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Any) -> Reach:
    dilation = args[4] if len(args) > 4 else [1]
    stride = args[2] if len(args) > 2 and args[2] else args[1]
    return _window(reach, [args[1], stride, args[3] if len(args) > 3 else [0], dilation])


def _unshuffle(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    return _window(reach, [[args[1]], [args[1]], [0], [1]])


def _slice(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    """An axis cut short at its end keeps every position where it was; any other cut of y or x moves them."""
    axis = (args[1] if len(args) > 1 else 0) % tensor.ndim
    start, step = (args[2] if len(args) > 2 else 0), (args[4] if len(args) > 4 else 1)
    if axis not in (reach.y, reach.x):
        return reach
    if reach.field is None or start not in (0, None) or step != 1 or (reach.y, reach.x) != (2, 3):
        return WHOLE
    cut = tensor.shape[axis] - out.shape[axis]
    y, x = _cut_behind(reach.field.y, cut * (axis == 2)), _cut_behind(reach.field.x, cut * (axis == 3))
    return replace(reach, field=Field(y, x))


def _cut_behind(axis: Axis, count: int) -> Axis:
    """The field after `count` positions are cut off behind the last: of a crop, those that see its end, too."""
    return replace(axis, size=axis.size + max(0, count) * axis.jump)


def _pad(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    """Entries added before the first move all others along; those added or cut behind the last move none."""
    edges = [*args[1], 0, 0, 0, 0][:4]
    if reach.field is None or (reach.y, reach.x) != (2, 3) or min(edges[::2]) < 0 or any(args[1][4:]):
        return WHOLE
    x, y = (
        _cut_behind(replace(axis, padding=axis.padding + before * axis.jump), -behind)
        for axis, before, behind in zip((reach.field.x, reach.field.y), edges[::2], edges[1::2], strict=True)
    )
    return replace(reach, field=Field(y, x))


def _permute(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    order = [axis % tensor.ndim for axis in args[1]]
    return replace(reach, y=order.index(reach.y), x=order.index(reach.x))


def _transpose(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    one, other = args[1] % tensor.ndim, args[2] % tensor.ndim
    order = list(range(tensor.ndim))
    order[one], order[other] = other, one
    return replace(reach, y=order.index(reach.y), x=order.index(reach.x))


def _layer_norm(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Any) -> Reach:
    return reach if max(reach.y, reach.x) < tensor.ndim - len(args[1]) else WHOLE


def _split(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Any) -> Reach:
    axis = (args[2] if len(args) > 2 else 0) % tensor.ndim
    return reach if axis not in (reach.y, reach.x) else WHOLE


def _batch_norm(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Any) -> Reach:
    return reach if reach.packed or 1 not in reach.places else WHOLE


def _own_batch_norm(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Any) -> Reach:
    """As in training, and in an instance norm, statistics may be those of the picture itself."""
    return WHOLE if args[5] else _batch_norm(reach, tensor, args, out)


def _product(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    """A product with a matrix mixes the last axis, the channels, of tensors whose pixels are packed in the first."""
    factor, bias = args[-2], args[:-2]
    return reach if reach.packed and tensor is factor and all(added.ndim == 1 for added in bias) else WHOLE


def _view(reach: Reach, tensor: Tensor, args: tuple[Any, ...], out: Tensor) -> Reach:
    """A new shape keeps an axis if it has the same size with as much before it; else pixels may be packed."""
    if reach.packed and tuple(out.shape[:-1]) == reach.packed[:-1]:
        return replace(reach, packed=None)
    if reach.packed:
        return WHOLE
    y, x = (_kept(axis, tuple(tensor.shape), tuple(out.shape)) for axis in (reach.y, reach.x))
    if y is not None and x is not None:
        return replace(reach, y=y, x=x)
    last = tensor.ndim - 1
    flattened = tuple(out.shape) == (math.prod(tensor.shape[:-1]), tensor.shape[-1])
    return replace(reach, packed=tuple(tensor.shape)) if flattened and last not in (reach.y, reach.x) else WHOLE


def _kept(axis: int, before: tuple[int, ...], after: tuple[int, ...]) -> int | None:
    ahead = math.prod(before[:axis])
    for index, size in enumerate(after):
        if size == before[axis] and math.prod(after[:index]) == ahead:
            return index
    return None


_POINTWISE = {
    aten.hardswish_,
    aten.alias,
    aten.detach,
    aten.contiguous,
    aten._to_copy,
}
_RULES: dict[Any, Any] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool,
    aten.avg_pool2d: _pool,
    aten.pixel_unshuffle: _unshuffle,
    aten.slice: _slice,
    aten.constant_pad_nd: _pad,
    aten.permute: _permute,
    aten.transpose: _transpose,
    aten.native_layer_norm: _layer_norm,
    aten.native_batch_norm: _own_batch_norm,
    aten._native_batch_norm_legit_no_training: _batch_norm,
    aten.split: _split,
    aten.view: _view,
    aten._unsafe_view: _view,
    aten.addmm: _product,
    aten.mm: _product,
}
