"""The expressions that say what a dream makes larger: parsed from text. No tensors here.

    expression := sum ('|' sum)*                     one objective an octave, smallest first; the last one goes on
    sum    := ['-'] term (('+' | '-') term)*
    term   := NUMBER '*' term | '(' sum ')' | atom
    atom   := LAYER [':' picks ['@' Y ',' X]]
            | 'mean' '(' LAYER [':' picks] ')'
            | ('guide' | 'style' | 'direction') '(' LAYER ',' FILE ')'
            | 'class' ':' LABEL | 'text' ':' QUOTED
            | 'tv' | 'l2'
    picks  := pick (',' pick)*
    pick   := CHANNEL | '-' CHANNEL | ('strong' | 'weak' | 'average') '(' N ')'     one ranking at most
    LABEL  := a class's number, its name in one word (`golden_retriever`), or its name in quotes
    FILE   := a path or url, in quotes unless it is made of letters, digits and `_ . / : ~ % + @ -`

A word is reserved only where its sign follows: a layer may be called `mean` or `class`, but not `tv` or `l2`. What the
terms are worth over activations is in `measures`.
"""

import functools
import math
import re
from dataclasses import replace

from dreamjobs.objectives.cursor import Cursor
from dreamjobs.objectives.expressions import (
    BARE_FILE,
    WORD,
    ClassLogit,
    Direction,
    Guide,
    How,
    Kind,
    Layer,
    Objective,
    Penalty,
    Rank,
    Style,
    Term,
    TextMatch,
    scaled,
)
from dreamjobs.params import nearest

__all__ = [
    "ClassLogit",
    "Direction",
    "Guide",
    "Kind",
    "Layer",
    "Objective",
    "Penalty",
    "Rank",
    "Style",
    "Term",
    "TextMatch",
    "files",
    "parse",
]

_NAME = re.compile(r"[A-Za-z_][\w.]*")
_FACTOR = re.compile(r"\d++(?:\.\d*+)?(?:[eE][-+]?\d+)?(?=\s*\*)")
_FRACTION = re.compile(r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_DIGITS = re.compile(r"\d+")
_QUOTED = re.compile(r"\"[^\"]*\"")
_MOST_DIGITS = 9
_DEEPEST = 100


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Objective, ...]:
    """The objectives that an expression stands for: one an octave, smallest octave first.

    Raises:
        ObjectiveError: with a caret under the place where the expression stops making sense.
    """
    return _Parser(text).expression()


@functools.lru_cache(maxsize=65_536)
def files(text: str) -> tuple[str, ...]:
    """The files that an expression names, each once, for whoever has to fetch them.

    Raises:
        ObjectiveError: as `parse`.
    """
    return tuple(dict.fromkeys(file for objective in parse(text) for file in objective.files))


_OF_FILES: dict[str, type[Guide] | type[Style] | type[Direction]] = {
    "guide": Guide,
    "style": Style,
    "direction": Direction,
}
_FUNCTIONS = ["mean", *_OF_FILES]
_HOWS: dict[str, How] = {"strong": "strong", "weak": "weak", "average": "average"}
_PENALTIES = {"tv": Penalty("tv"), "l2": Penalty("l2")}


class _Parser:
    """Recursive descent over one text, a method for each line of the grammar."""

    def __init__(self, text: str) -> None:
        self._cursor = Cursor(text)

    def expression(self) -> tuple[Objective, ...]:
        objectives = [self._sum(0)]
        while self._cursor.accept("|"):
            objectives.append(self._sum(0))
        if not self._cursor.at_end:
            raise self._cursor.error("`+`, `-`, `|` or the end is expected here")
        return tuple(objectives)

    def _sum(self, depth: int) -> Objective:
        terms: list[Term] = []
        factor = -1.0 if self._cursor.accept("-") else 1.0
        while factor:
            terms += scaled(self._term(depth), factor)
            factor = 1.0 if self._cursor.accept("+") else -1.0 if self._cursor.accept("-") else 0.0
        return Objective(tuple(terms))

    def _term(self, depth: int) -> tuple[Term, ...]:
        if depth > _DEEPEST:
            raise self._cursor.error(
                f"this is nested too deeply; at most {_DEEPEST} parentheses and factors are allowed"
            )
        place = self._cursor.place
        if factor := self._cursor.take(_FACTOR):
            self._cursor.expect("*")
            terms = scaled(self._term(depth + 1), float(factor))
            if not all(math.isfinite(term.weight) for term in terms):
                raise self._cursor.error("this makes the weight of a term infinite", place)
            return tuple(terms)
        if self._cursor.accept("("):
            inside = self._sum(depth + 1)
            self._cursor.expect(")")
            return inside.terms
        return (Term(self._atom()),)

    def _atom(self) -> Kind:
        place, name = self._cursor.place, self._name()
        if name in _PENALTIES:
            return _PENALTIES[name]
        if name == "class" and self._cursor.accept(":"):
            return ClassLogit(self._label())
        if name == "text" and self._cursor.accept(":"):
            return TextMatch(self._quoted("a text in double quotes"))
        if self._cursor.accept("("):
            return self._function(name, place)
        return self._spotted(self._picked(name))

    def _function(self, name: str, place: int) -> Kind:
        what: Kind
        if name == "mean":
            what = replace(self._picked(self._name()), mean=True)
        elif name in _OF_FILES:
            layer = self._name()
            self._cursor.expect(",")
            what = _OF_FILES[name](layer, self._file())
        else:
            raise self._cursor.error(f"there is no function {name!r}{nearest(name, _FUNCTIONS)}", place)
        self._cursor.expect(")")
        return what

    def _picked(self, layer: str) -> Layer:
        channels: list[int] = []
        without: list[int] = []
        rank = None
        sign = ":"
        while self._cursor.accept(sign):
            sign = ","
            if self._cursor.accept("-"):
                without.append(self._channel())
            elif self._cursor.sees(_NAME):
                rank = self._rank(before=rank)
            else:
                channels.append(self._channel())
        return Layer(layer, tuple(channels), tuple(without), rank)

    def _rank(self, before: Rank | None) -> Rank:
        place, how = self._cursor.place, self._cursor.take(_NAME)
        if how not in _HOWS:
            raise self._cursor.error(
                f"{how!r} is neither the number of a channel nor a ranking{nearest(how, _HOWS)}", place
            )
        if before:
            raise self._cursor.error(f"{before} ranks the channels already; one ranking is allowed", place)
        self._cursor.expect("(")
        place, count = self._cursor.place, self._whole("how many channels, 1 or more,")
        if count == 0:
            raise self._cursor.error("how many channels, 1 or more, is expected here", place)
        self._cursor.expect(")")
        return Rank(_HOWS[how], count)

    def _spotted(self, layer: Layer) -> Layer:
        place = self._cursor.place
        if not self._cursor.accept("@"):
            return layer
        if layer == Layer(layer.layer):
            raise self._cursor.error(f"channels are expected before `@`, such as `{layer}:3@0.5,0.5`", place)
        y = self._fraction()
        self._cursor.expect(",")
        return replace(layer, spot=(y, self._fraction()))

    def _name(self) -> str:
        name = self._cursor.take(_NAME)
        if not name:
            raise self._cursor.error("a layer is expected here, such as `mix8d` or `0.5*features.9`")
        return name

    def _label(self) -> str:
        if self._cursor.sees(WORD):
            return self._cursor.take(WORD)
        return self._quoted("the number or the name of a class").strip()

    def _file(self) -> str:
        return self._cursor.take(BARE_FILE) or self._quoted("the path or url of a file")

    def _quoted(self, wanted: str) -> str:
        place, text = self._cursor.place, self._cursor.take(_QUOTED)[1:-1]
        if not text.strip():
            raise self._cursor.error(f"{wanted} is expected here", place)
        return text

    def _channel(self) -> int:
        return self._whole("the number of a channel")

    def _whole(self, wanted: str) -> int:
        place, digits = self._cursor.place, self._cursor.take(_DIGITS)
        if not 0 < len(digits) <= _MOST_DIGITS:
            raise self._cursor.error(f"{wanted} is expected here", place)
        return int(digits)

    def _fraction(self) -> float:
        place, number = self._cursor.place, self._cursor.take(_FRACTION)
        if not number or float(number) > 1:
            raise self._cursor.error("a share of the height or width, from 0 to 1, is expected here", place)
        return float(number)
