"""A place in a text that moves to the right as a parser takes what it knows, and errors that point at a place."""

import re

from dreamjobs.errors import ObjectiveError

_SPACE = re.compile(r"\s*")
_SHOWN = 120


class Cursor:
    """Reads one text from left to right; `place` is never on white space."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = len(text.rstrip())
        self._move(0)

    @property
    def at_end(self) -> bool:
        """Whether nothing but white space is left."""
        return self.place == self._end

    def sees(self, pattern: re.Pattern[str]) -> bool:
        """Whether the pattern matches here."""
        return pattern.match(self._text, self.place, self._end) is not None

    def take(self, pattern: re.Pattern[str]) -> str:
        """What the pattern matches here, passed over; nothing where it does not match."""
        match = pattern.match(self._text, self.place, self._end)
        if not match:
            return ""
        self._move(match.end())
        return match[0]

    def accept(self, sign: str) -> bool:
        """Whether this sign stood here; it is passed over."""
        found = self._text.startswith(sign, self.place, self._end)
        if found:
            self._move(self.place + len(sign))
        return found

    def expect(self, sign: str) -> None:
        """Pass over this sign.

        Raises:
            ObjectiveError: where it is missing.
        """
        if not self.accept(sign):
            raise self.error(f"`{sign}` is expected here")

    def error(self, reason: str, place: int | None = None) -> ObjectiveError:
        """An error with a caret under `place`, by default here; a long text is shown around the place only."""
        place = self.place if place is None else place
        start = max(0, min(place - _SHOWN // 2, len(self._text) - _SHOWN))
        shown = _SPACE_SIGN.sub(" ", self._text[start : start + _SHOWN])
        return ObjectiveError(f"objective: {reason}\n  {shown}\n  {' ' * (place - start)}^")

    def _move(self, place: int) -> None:
        match = _SPACE.match(self._text, place, self._end)
        self.place = match.end() if match else place


_SPACE_SIGN = re.compile(r"\s")
