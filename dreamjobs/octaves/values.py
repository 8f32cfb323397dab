"""What an objective's terms on layers are worth over what the net sees at once: a picture, or what a tile owns."""

from collections.abc import Callable, Mapping

from torch import Tensor

from dreamjobs.nets import Reader
from dreamjobs.objectives.terms import Bound, View

Shift = tuple[float, float]
Block = tuple[slice, slice, View]
"""The rows and columns of a map that count, and where they lie in their layer."""


def picture_value(reader: Reader, bound: Bound, picture: Tensor, shift: Shift) -> Tensor:
    """What the terms on layers are worth over a picture (1, 3, h, w) that was rolled by `shift`, a scalar."""

    def block(layer: str, maps: Tensor) -> Block:
        rows, columns = maps.shape[2:]
        return slice(0, rows), slice(0, columns), View(rows, columns, 0, 0, shift)

    if is_square_of_relus(reader, bound):
        return squares_value(reader, bound, picture, block)
    return whole_value(bound, reader(picture), shift)


def is_square_of_relus(reader: Reader, bound: Bound) -> bool:
    """Whether the objective is the square of layers that end in ReLUs, so that their maps need not be made whole."""
    return reader.ends_in_relus and bool(bound.squares)


def squares_value(reader: Reader, bound: Bound, crop: Tensor, block: Callable[[str, Tensor], Block]) -> Tensor:
    """The same where `is_square_of_relus`, over the block of each layer that `block` tells by its name and a map."""
    maps, value = reader.before_relus(crop), crop.new_zeros(())
    for term in bound.squares:
        own = maps[term.layer]
        value = value + term.part_before_relus(own, *block(term.layer, own[0]))
    return value


def whole_value(bound: Bound, activations: Mapping[str, Tensor], shift: Shift) -> Tensor:
    """What the terms on these layers, each complete, are worth."""
    value = next(iter(activations.values())).new_zeros(())
    views = {name: View(values.shape[2], values.shape[3], 0, 0, shift) for name, values in activations.items()}
    for local in bound.local:
        if local.layer in activations:
            value = value + local.part(activations[local.layer], views[local.layer])
    for summed in bound.sums:
        if summed.layer in activations:
            value = value + summed.value(summed.reduce(activations[summed.layer], views[summed.layer]))
    return value
