"""Which of the photographs found go into a manifest: a condition on their columns, and a sample spread over them.

A condition is one or more comparisons joined by `and`: `width >= 1000 and image like "%2024%"`. Names are those of the
manifest's source columns. A number is compared with numbers, text in quotes with text; `mtime` with a date of ISO 8601
in quotes, UTC where it names no zone. `like` takes `%` for any text and `_` for any one sign, capitals apart. What is
not known satisfies no comparison. Nothing of a condition is run as code.
"""

import hashlib
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa

from dreamjobs.errors import InputError
from dreamjobs.manifest.columns import SOURCE_FIELDS, SOURCE_NAMES
from dreamjobs.params import nearest

Item = TypeVar("Item")
Cells = Mapping[str, Any]

SIZE_NAMES = frozenset(["width", "height"])
"""Columns that are known only once a photograph's header was read."""

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "like": lambda cell, pattern: pattern.fullmatch(cell) is not None,
    "not like": lambda cell, pattern: pattern.fullmatch(cell) is None,
}
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERATOR = re.compile(r"==|!=|<=|>=|=|<|>|(?:not\s+)?like\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])", re.IGNORECASE)
_TEXT = re.compile(r"\"[^\"]*\"|'[^']*'")
_AND = re.compile(r"and\b", re.IGNORECASE)
_TEXT_NAMES = frozenset(field.name for field in SOURCE_FIELDS if pa.types.is_string(field.type))


@dataclass(frozen=True)
class Comparison:
    """One column against one value; `value` is a pattern where the operator is `like`."""

    name: str
    sign: str
    value: Any

    def holds(self, row: Cells) -> bool:
        """Whether the row satisfies it; an empty cell does not."""
        cell = row.get(self.name)
        return cell is not None and _COMPARE[self.sign](cell, self.value)


@dataclass(frozen=True)
class Condition:
    """Comparisons that all hold for a row that is taken; none is satisfied by every row."""

    comparisons: tuple[Comparison, ...] = ()

    @property
    def takes_sizes(self) -> bool:
        """Whether it asks for what only a photograph's header tells."""
        return any(item.name in SIZE_NAMES for item in self.comparisons)

    def holds(self, row: Cells) -> bool:
        """Whether the row satisfies every comparison."""
        return all(item.holds(row) for item in self.comparisons)


@dataclass(frozen=True)
class Selection:
    """What of the photographs found is taken: those of the condition, and of these `sample`, all where it is None."""

    condition: Condition = Condition()
    sample: int | None = None
    seed: int = 0


def parse_condition(text: str) -> Condition:
    """The comparisons of a text.

    Raises:
        InputError: with a caret under the place, for what is no comparison, an unknown column, or a value of another
            type than the column's.
    """
    reader = _Reader(text)
    comparisons = [_comparison(reader)]
    while not reader.at_end:
        if not reader.take(_AND):
            raise reader.error("comparisons are joined by `and`, and by nothing else")
        comparisons.append(_comparison(reader))
    return Condition(tuple(comparisons))


def spread(items: Iterable[Item], count: int, seed: int, name_of: Callable[[Item], str]) -> Iterator[Item]:
    """`count` of the items, in their order, about evenly spaced; all of them if there are no more.

    The same items and seed give the same choice. Streams, with at most 2 x `count` items in memory: neighbours share
    a stratum, of which the item with the least hash of its name stands for all; when strata become too many, each two
    become one, whose least is the lesser of theirs.
    """
    strata: list[tuple[bytes, Item]] = []
    width = 1
    for number, item in enumerate(items):
        ranked = (_rank(name_of(item), seed), item)
        if number // width < len(strata):
            strata[-1] = min(strata[-1], ranked, key=operator.itemgetter(0))
        else:
            strata.append(ranked)
        if len(strata) == 2 * count and (number + 1) % width == 0:
            strata = [min(strata[at : at + 2], key=operator.itemgetter(0)) for at in range(0, len(strata), 2)]
            width *= 2
    kept = min(count, len(strata))
    yield from (strata[math.floor((at + 0.5) * len(strata) / kept)][1] for at in range(kept))


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()


class _Reader:
    """A place in the text that moves to the right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = len(text) - len(text.lstrip())

    @property
    def at_end(self) -> bool:
        return self._place >= len(self._text)

    def take(self, pattern: re.Pattern[str]) -> str:
        """What the pattern matches here, passed over with the space behind it; nothing where it does not match."""
        match = pattern.match(self._text, self._place)
        if not match:
            return ""
        rest = self._text[match.end() :]
        self._place = match.end() + len(rest) - len(rest.lstrip())
        return match[0]

    def error(self, reason: str, back: str = "") -> InputError:
        """An error with a caret under this place, or under what was just taken, `back`."""
        place = self._text.rindex(back, 0, self._place) if back else self._place
        return InputError(f"--where: {reason}\n  {self._text}\n  {' ' * place}^")


def _comparison(reader: _Reader) -> Comparison:
    name = reader.take(_NAME)
    if not name:
        raise reader.error(f"a column is expected here: {', '.join(SOURCE_NAMES)}")
    if name not in SOURCE_NAMES:
        raise reader.error(f"column {name!r} is not known{nearest(name, SOURCE_NAMES)}", name)
    sign = " ".join(reader.take(_OPERATOR).lower().split())
    if not sign:
        raise reader.error(f"one of {' '.join(sorted(_COMPARE))} is expected here")
    return Comparison(name, sign, _value(reader, name, sign))


def _value(reader: _Reader, name: str, sign: str) -> Any:
    """The value that a column can be compared with."""
    text, number = reader.take(_TEXT), reader.take(_NUMBER)
    if name in _TEXT_NAMES and not text:
        raise reader.error(f"{name} is text, compared with text in quotes", number)
    if sign.endswith("like") and name not in _TEXT_NAMES:
        raise reader.error(f"`like` compares text; {name} is a number", text or number)
    if name == "mtime" and text:
        return _nanoseconds(reader, text)
    if name not in _TEXT_NAMES and not number:
        raise reader.error(f"{name} is a whole number, compared with a number such as 1000", text)
    if number:
        return float(number) if set(number) & set(".eE") else int(number)
    return _pattern(text[1:-1]) if sign.endswith("like") else text[1:-1]


def _nanoseconds(reader: _Reader, quoted: str) -> int:
    """A date as nanoseconds since 1970, as `mtime` is stored."""
    try:
        date = datetime.fromisoformat(quoted[1:-1])
    except ValueError:
        raise reader.error('mtime is compared with a date such as "2024-05-01" or nanoseconds', quoted) from None
    return round((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()) * 10**9


def _pattern(text: str) -> re.Pattern[str]:
    parts = {"%": ".*", "_": "."}
    return re.compile("".join(parts.get(sign) or re.escape(sign) for sign in text), re.DOTALL)
