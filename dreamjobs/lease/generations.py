"""The objects of one lease in a store: who took each generation, and its beat."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from dreamjobs.errors import NotFoundError
from dreamjobs.lease.owners import Owner
from dreamjobs.storage import Store

_NAME = re.compile(r"(\d{6,})\.(json|beat)")


@dataclass(frozen=True)
class Holder:
    """Who took a generation, since when (UTC, for people to read), and how often it beats."""

    owner: Owner
    since: str
    beat_s: float

    def __str__(self) -> str:
        return f"{self.owner} since {self.since}"


@dataclass(frozen=True)
class _Object:
    key: str
    number: int
    kind: str


@dataclass(frozen=True)
class Generations:
    """The generations of the lease `name`, numbered from 1; the highest is never removed."""

    store: Store
    name: str

    def latest(self) -> int:
        """Return the highest generation, 0 if there is none."""
        return max((found.number for found in self._objects() if found.kind == "json"), default=0)

    def take(self, number: int, owner: Owner, beat_s: float) -> bool:
        """Try to create a generation; whether it is now `owner`'s and the highest."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        text = json.dumps({"owner": asdict(owner), "since": since, "beat_s": beat_s})
        created = self.store.put_if_absent(self._key(number, "json"), text.encode())
        # Whoever slept since it looked may create anew a generation that a later holder cleaned up.
        return created and self.latest() == number

    def holder(self, number: int) -> Holder | None:
        """Return who took a generation, or None if it was cleaned up."""
        text = self._get(number, "json")
        if text is None:
            return None
        facts = json.loads(text)
        return Holder(Owner(**facts["owner"]), facts["since"], facts["beat_s"])

    def put_beat(self, number: int, count: int, *, released: bool = False) -> None:
        """Show that the holder is alive, or that it is done."""
        text = json.dumps({"count": count, "released": released})
        self.store.put(self._key(number, "beat"), text.encode())

    def beat(self, number: int) -> bytes | None:
        """Return the last beat as it was written, to compare; None before the first one."""
        return self._get(number, "beat")

    def clean_up(self, below: int) -> None:
        """Remove the generations below one that is held."""
        for found in list(self._objects()):
            if found.number < below:
                self.store.delete(found.key)

    def _objects(self) -> Iterator[_Object]:
        for info in self.store.list(f"lease/{self.name}/"):
            if match := _NAME.fullmatch(info.key.rpartition("/")[2]):
                yield _Object(info.key, int(match[1]), match[2])

    def _get(self, number: int, kind: str) -> bytes | None:
        try:
            return self.store.get(self._key(number, kind))
        except NotFoundError:
            return None

    def _key(self, number: int, kind: str) -> str:
        return f"lease/{self.name}/{number:06d}.{kind}"


def released(beat: bytes | None) -> bool:
    """Whether a beat says that its holder is done."""
    return beat is not None and bool(json.loads(beat)["released"])
