"""An objective bound to a photograph and a net: every name in it replaced by channels, features and vectors.

Nothing here loads files or runs nets: what a term needs of the photograph, of other pictures and of vectors comes from
a `Context`. What the bound terms are worth is in `measures`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from torch import Tensor

from dreamjobs.errors import ObjectiveError
from dreamjobs.objectives.grammar import (
    ClassLogit,
    Direction,
    Guide,
    Layer,
    Objective,
    Penalty,
    Rank,
    Style,
    Term,
    TextMatch,
)
from dreamjobs.objectives.measures import (
    PENALTIES,
    Activations,
    Along,
    Guided,
    LocalTerm,
    PixelTerm,
    SummedTerm,
    View,
    gram,
)

__all__ = ["Bound", "Context", "LocalTerm", "PixelTerm", "SummedTerm", "View", "bind"]


class Context(Protocol):
    """What terms ask of the net, the photograph and the files; features are those of a guide's or a style's picture."""

    @property
    def class_layer(self) -> str:
        """The layer whose channels are the classes' logits."""

    def class_index(self, label: str) -> int:
        """The channel of a class given by number or name."""

    def channels(self, layer: str) -> int:
        """How many channels a layer has."""

    def features(self, layer: str, file: str) -> Tensor:
        """A layer's activations (1, C, h, w) over the picture in a file."""

    def vector(self, file: str) -> Tensor:
        """The vector (C,) in a file."""

    def mean_activation(self, layer: str) -> Tensor:
        """Each channel's mean (C,) over the photograph."""

    def text_matcher(self, text: str) -> Callable[[Tensor], Tensor]:
        """A function from a picture to its likeness to a text, a scalar."""


@dataclass(frozen=True, eq=False)
class Bound:
    """An objective whose terms know their channels, features and vectors; their sum is the objective."""

    local: tuple[LocalTerm, ...] = ()
    sums: tuple[SummedTerm, ...] = ()
    pixels: tuple[PixelTerm, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers to be read, each once, the classes' among them."""
        return tuple(dict.fromkeys([*(term.layer for term in self.local), *(term.layer for term in self.sums)]))

    @property
    def squares(self) -> tuple[Activations, ...]:
        """The terms on layers, if each is the square of all of a layer of its own; none otherwise."""
        found = tuple(term for term in self.local if isinstance(term, Activations) and term.is_square_of_all)
        return found if len(self.layers) == len(found) == len(self.local) + len(self.sums) else ()


def bind(objective: Objective, context: Context) -> Bound:
    """The objective for one photograph and net.

    Raises:
        ObjectiveError: if a layer lacks a channel or has none left, or a vector or features do not fit.
    """
    binder = _Binder(objective, context)
    parts = [binder.bind(term) for term in objective.terms]
    return Bound(
        tuple(part for part in parts if isinstance(part, LocalTerm)),
        tuple(part for part in parts if isinstance(part, SummedTerm)),
        tuple(part for part in parts if isinstance(part, PixelTerm)),
    )


@dataclass(frozen=True)
class _Binder:
    """Binds the terms of one objective, a method for each kind."""

    objective: Objective
    context: Context

    def bind(self, term: Term) -> LocalTerm | SummedTerm | PixelTerm:
        what, weight = term.what, term.weight
        match what:
            case Layer():
                return self._activations(what, weight)
            case Guide():
                return Guided(what.layer, weight, self._features(what)[0].flatten(1))
            case Style():
                return self._style(what, weight)
            case Direction():
                return self._along(what, weight)
            case ClassLogit():
                channel = self.context.class_index(what.label)
                return self._activations(Layer(self.context.class_layer, (channel,)), weight)
            case TextMatch():
                return PixelTerm(weight, self.context.text_matcher(what.text))
            case Penalty():
                return PixelTerm(weight, PENALTIES[what.kind])
        assert_never(what)

    def _activations(self, what: Layer, weight: float) -> Activations:
        count = self.context.channels(what.layer)
        for channel in (*what.channels, *what.without):
            if channel >= count:
                raise self._error(f"layer {what.layer!r} has channels 0 to {count - 1}, not {channel}")
        chosen = what.channels + self._ranked(what.layer, what.rank, count)
        without = set(what.without)
        left = dict.fromkeys(chosen or range(count) if without else chosen)
        channels = tuple(channel for channel in left if channel not in without)
        if without and not channels:
            raise self._error(f"`{what}` leaves no channel of layer {what.layer!r}; take fewer away")
        return Activations(what.layer, weight, channels, squared=not chosen and not what.mean, spot=what.spot)

    def _ranked(self, layer: str, rank: Rank | None, count: int) -> tuple[int, ...]:
        """The channels of a ranking by their mean over the photograph; of equals the lower number comes first."""
        if not rank:
            return ()
        if rank.count > count:
            raise self._error(f"layer {layer!r} has {count} channels, too few for `{rank}`")
        means = self.context.mean_activation(layer)
        order: list[int] = means.argsort(descending=rank.how == "strong", stable=True).tolist()
        first = (count - rank.count) // 2 if rank.how == "average" else 0
        return tuple(order[first : first + rank.count])

    def _features(self, what: Guide | Style) -> Tensor:
        features, count = self.context.features(what.layer, what.file), self.context.channels(what.layer)
        if features.shape[1] != count or not features.numel():
            shape = tuple(features.shape)
            raise self._error(f"features of shape {shape} for `{what}`; (1, {count}, rows, columns) are needed")
        return features.detach()

    def _style(self, what: Style, weight: float) -> SummedTerm:
        features = self._features(what)
        target = gram(features) / features[0, 0].numel()
        if not target.any():
            raise self._error(f"`{what}`: the picture moves no channel of layer {what.layer!r}; choose another layer")
        return SummedTerm(what.layer, weight, target)

    def _along(self, what: Direction, weight: float) -> Along:
        vector, count = self.context.vector(what.file).detach(), self.context.channels(what.layer)
        if vector.shape != (count,):
            shape = "x".join(map(str, vector.shape))
            raise self._error(f"`{what}`: the vector's length is {shape or 'none'}, the layer has {count} channels")
        length = vector.norm()
        if not length.isfinite() or not length:
            raise self._error(f"`{what}`: a vector of length {length.item():g} has no direction")
        return Along(what.layer, weight, vector / length)

    def _error(self, reason: str) -> ObjectiveError:
        return ObjectiveError(f"objective {str(self.objective)!r}: {reason}")
