"""What an expression stands for: terms that are added, scaled and printed. No tensors here.

After Lucid (Olah et al. 2017), an objective is a function of a way to read activations, deferred until there are some.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

WORD = re.compile(r"[A-Za-z_][\w.]*|\d+")
BARE_FILE = re.compile(r"[\w./:~%+@-]+")

How = Literal["strong", "weak", "average"]


@dataclass(frozen=True)
class Rank:
    """The `count` channels that the photograph moves most (`strong`), least (`weak`), or in between (`average`)."""

    how: How
    count: int

    def __str__(self) -> str:
        return f"{self.how}({self.count})"


@dataclass(frozen=True)
class Layer:
    """A layer's activations: all channels or those picked, everywhere or at one spot (y, x in [0, 1]).

    `channels` and `rank` choose, `without` takes away from what is chosen. What is chosen counts by its mean; the whole
    layer, and the layer without some channels, by the mean of a**2 / 2, or by the mean where `mean` is true.
    """

    layer: str
    channels: tuple[int, ...] = ()
    without: tuple[int, ...] = ()
    rank: Rank | None = None
    spot: tuple[float, float] | None = None
    mean: bool = False

    def __str__(self) -> str:
        ranks = [self.rank] if self.rank else []
        picks = ",".join([*map(str, self.channels), *map(str, ranks), *(f"-{channel}" for channel in self.without)])
        name = f"{self.layer}:{picks}" if picks else self.layer
        if self.spot:
            name += "@" + ",".join(repr(float(share)).removesuffix(".0") for share in self.spot)
        return f"mean({name})" if self.mean else name


@dataclass(frozen=True)
class Guide:
    """Likeness of each position to the nearest one of another picture."""

    layer: str
    file: str

    def __str__(self) -> str:
        return f"guide({self.layer}, {_file_text(self.file)})"


@dataclass(frozen=True)
class Style:
    """Likeness to another picture in which channels occur together, wherever."""

    layer: str
    file: str

    def __str__(self) -> str:
        return f"style({self.layer}, {_file_text(self.file)})"


@dataclass(frozen=True)
class Direction:
    """How far activations go along a vector that a file holds."""

    layer: str
    file: str

    def __str__(self) -> str:
        return f"direction({self.layer}, {_file_text(self.file)})"


@dataclass(frozen=True)
class ClassLogit:
    """The logit of a class, given by number or name."""

    label: str

    def __str__(self) -> str:
        return "class:" + (self.label if WORD.fullmatch(self.label) else f'"{self.label}"')


@dataclass(frozen=True)
class TextMatch:
    """Likeness of the picture to a text."""

    text: str

    def __str__(self) -> str:
        return f'text:"{self.text}"'


@dataclass(frozen=True)
class Penalty:
    """Roughness of the pixels (`tv`), or their distance from grey (`l2`); of use with a minus."""

    kind: Literal["tv", "l2"]

    def __str__(self) -> str:
        return self.kind


Kind = Layer | Guide | Style | Direction | ClassLogit | TextMatch | Penalty


@dataclass(frozen=True)
class Term:
    """A weight times one thing to be made larger."""

    what: Kind
    weight: float = 1.0

    def __str__(self) -> str:
        factor = f"{self.weight:.12g}"
        return str(self.what) if factor == "1" else f"{factor}*{self.what}"


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms. Objectives add, subtract and scale."""

    terms: tuple[Term, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The files its terms name, each once."""
        return tuple(
            dict.fromkeys(term.what.file for term in self.terms if isinstance(term.what, Guide | Style | Direction))
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers its terms name, each once; the layer of the classes is not among them."""
        kinds = (term.what for term in self.terms)
        return tuple(dict.fromkeys(what.layer for what in kinds if isinstance(what, Layer | Guide | Style | Direction)))

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.terms + other.terms)

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -1.0 * other

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple(scaled(self.terms, factor)))

    __rmul__ = __mul__

    def __str__(self) -> str:
        terms = [str(term) for term in self.terms]
        signed = (f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in terms[1:])
        return "".join([*terms[:1], *signed])


def scaled(terms: Iterable[Term], factor: float) -> list[Term]:
    """The terms, their weights times a factor."""
    return [replace(term, weight=term.weight * factor) for term in terms]


def _file_text(file: str) -> str:
    return file if BARE_FILE.fullmatch(file) else f'"{file}"'
