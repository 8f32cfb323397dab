"""What a dream makes larger, as an expression over a net's activations; parsed from text, evaluated by tiles.

    sum    := ['-'] term (('+' | '-') term)*
    term   := NUMBER '*' term | '(' sum ')' | LAYER [':' CHANNEL (',' CHANNEL)*] | 'class' ':' LABEL
    LABEL  := a class's number, its name in one word (`golden_retriever`), or its name in quotes

`LAYER` is the mean of a**2 / 2 over the layer, whose gradient at the layer is the activations themselves (Mordvintsev
et al. 2015) up to a factor; `LAYER:3` is the mean of channel 3, `LAYER:1,2` the mean of both. Means, so that weights
compare layers of any size. `class:lion` is the logit of a class: a channel of the last layer, found by `resolve`. After
Lucid's idea (Olah et al. 2017), an objective is a function of a way to read activations, deferred until there are some.

Every objective here is a sum over positions, so it can be summed over tiles exactly.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from dreamjobs.errors import ObjectiveError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Term:
    """A weight times the objective of one layer; `channels` empty means the L2 norm of the whole layer.

    A term with a `label` has no layer until `resolve` finds it.
    """

    layer: str
    channels: tuple[int, ...] = ()
    weight: float = 1.0
    label: str = ""

    def part(self, owned: Tensor, whole: Shape) -> Tensor:
        """What the positions in `owned` (1, C, rows, columns) add to the mean over the layer, `whole` in size."""
        count, rows, columns = whole
        if not self.channels:
            return self.weight * owned.square().sum() / (2 * count * rows * columns)
        chosen = owned[:, list(self.channels)]
        return self.weight * chosen.sum() / (len(self.channels) * rows * columns)

    def __str__(self) -> str:
        name = self.layer + (":" + ",".join(map(str, self.channels)) if self.channels else "")
        if self.label:
            name = "class:" + (self.label if _WORD.fullmatch(self.label) else f'"{self.label}"')
        return name if self.weight == 1 else f"{self.weight:.12g}*{name}"


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms. Objectives add, subtract and scale."""

    terms: tuple[Term, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers it reads, each once."""
        return tuple(dict.fromkeys(term.layer for term in self.terms))

    def part(self, owned: Mapping[str, Tensor], whole: Mapping[str, Shape]) -> Tensor:
        """What the positions in `owned` add to the objective of a picture whose layers are `whole` in size.

        The sum over tiles that own every position once is the objective itself.
        """
        total = owned[self.terms[0].layer].new_zeros(())
        for term in self.terms:
            total = total + term.part(owned[term.layer], whole[term.layer])
        return total

    def resolve(self, class_layer: str, class_index: Callable[[str], int]) -> "Objective":
        """The same with every class replaced by its channel of the layer that holds the logits."""
        terms = (
            replace(term, layer=class_layer, channels=(class_index(term.label),), label="") if term.label else term
            for term in self.terms
        )
        return Objective(tuple(terms))

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.terms + other.terms)

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -1.0 * other

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple(replace(term, weight=term.weight * factor) for term in self.terms))

    __rmul__ = __mul__

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms)).replace("+ -", "- ")


def parse(text: str) -> Objective:
    """The objective that an expression stands for.

    Raises:
        ObjectiveError: with a caret under the place where the expression stops making sense.
    """
    try:
        return _Parser(text).parse()
    except RecursionError:
        raise ObjectiveError(f"objective: {text[:40]!r}... is nested too deeply") from None


def check(objective: Objective, channels: Mapping[str, int]) -> None:
    """Raise ObjectiveError if a channel is not in its layer; `channels` says how many each layer has."""
    for term in objective.terms:
        count = channels[term.layer]
        for channel in term.channels:
            if channel >= count:
                raise ObjectiveError(
                    f"objective {str(objective)!r}: layer {term.layer!r} has channels 0 to {count - 1}, not {channel}"
                )


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d++(?:\.\d*+)?(?:[eE][-+]?\d+)?(?=\s*\*))|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>[-+*(),:])|(?P<int>\d+)|(?P<quoted>\"[^\"]*\"))"
)


_WORD = re.compile(r"[A-Za-z_][\w.]*|\d+")
_CHANNEL_DIGITS = 9


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenise()
        self._next = 0

    def parse(self) -> Objective:
        objective = self._sum()
        if self._peek().kind != "end":
            raise self._error("`+`, `-` or the end is expected here")
        return objective

    def _tokenise(self) -> list[_Token]:
        tokens, place = [], 0
        end = len(self._text.rstrip())
        while place < end:
            match = _TOKEN.match(self._text, place)
            if not match:
                start = place + len(self._text[place:]) - len(self._text[place:].lstrip())
                raise _error(self._text, start, "this is no layer, number or sign")
            kind = match.lastgroup or ""
            tokens.append(_Token(kind, match[kind], match.start(kind)))
            place = match.end()
        return [*tokens, _Token("end", "", end)]

    def _sum(self) -> Objective:
        total = -1.0 * self._term() if self._accept("-") else self._term()
        while self._peek().text in ("+", "-"):
            sign = self._take().text
            term = self._term()
            total = total + term if sign == "+" else total - term
        return total

    def _term(self) -> Objective:
        token = self._take()
        if token.kind == "number":
            self._expect("*")
            scaled = float(token.text) * self._term()
            if not all(math.isfinite(term.weight) for term in scaled.terms):
                raise _error(self._text, token.place, "this makes the weight of a layer infinite")
            return scaled
        if token.text == "(":
            inside = self._sum()
            self._expect(")")
            return inside
        if token.kind != "name":
            raise _error(self._text, token.place, "a layer is expected here, such as `mix8d` or `0.5*features.9`")
        if token.text == "class" and self._accept(":"):
            return Objective((Term("", label=self._label()),))
        return Objective((Term(token.text, self._channels()),))

    def _label(self) -> str:
        token = self._take()
        label = token.text.strip('" ')
        if token.kind not in ("int", "name", "quoted") or not label:
            raise _error(self._text, token.place, "the number or the name of a class is expected here")
        return label

    def _channels(self) -> tuple[int, ...]:
        if not self._accept(":"):
            return ()
        channels = [self._channel()]
        while self._accept(","):
            channels.append(self._channel())
        return tuple(channels)

    def _channel(self) -> int:
        token = self._take()
        if token.kind != "int" or len(token.text) > _CHANNEL_DIGITS:
            raise _error(self._text, token.place, "the number of a channel is expected here")
        return int(token.text)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _accept(self, text: str) -> bool:
        if self._peek().text == text:
            self._take()
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._error(f"`{text}` is expected here")

    def _error(self, reason: str) -> ObjectiveError:
        return _error(self._text, self._peek().place, reason)


def _error(text: str, place: int, reason: str) -> ObjectiveError:
    return ObjectiveError(f"objective: {reason}\n  {text}\n  {' ' * place}^")
