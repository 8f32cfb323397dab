"""Finished octaves of a fanned-out picture under RUN, a file a tile, so that what a node or a driver takes with it is
no more than the octave that was being dreamed.

Whoever dreams a tile of a round that is to be kept puts its piece; beside it, once it is there, a small record. A round
of which all records are there is gone on from, if they were made by the same of the same photograph.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from dreamjobs.errors import NotFoundError, StorageError, TransientError
from dreamjobs.fanout import Course, Plan, Report, State, Task
from dreamjobs.fanout.levels import Levels
from dreamjobs.jobs import Job, Keys
from dreamjobs.storage import Store
from dreamjobs.worker.stages import versions

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Record:
    """What is kept of a tile beside its pixels: the course before the round, the report, what all was made by."""

    state: State
    report: Report
    size: tuple[int, ...]
    sha256: str
    made_by: dict[str, str]


_RECORD = TypeAdapter(_Record)


@dataclass(frozen=True)
class Kept:
    """The tiles of one job under RUN."""

    job: Job
    run: Store

    def put(self, task: Task, piece: Levels, state: State, report: Report, little: Floats) -> None:
        """Keep a tile of a photograph, `little` when shrunk; a store that fails is no reason to end the dream."""
        data = np.ascontiguousarray(piece).tobytes()
        record = _Record(state, report, piece.shape, hashlib.sha256(data).hexdigest(), _made_by(self.job, little))
        with suppress(TransientError):
            self.run.put(Keys.tile(self.job, task.number, task.index, "u16"), data)
            self.run.put(Keys.tile(self.job, task.number, task.index, "json"), _RECORD.dump_json(record))

    def find(self, plan: Plan, little: Floats) -> State | None:
        """How far an earlier attempt came, by the last round that is there in full.

        Raises:
            StorageError, AccessError
        """
        found: dict[int, list[str]] = defaultdict(list)
        for info in self.run.list(Keys.tiles(self.job)):
            if info.key.endswith(".json"):
                found[int(info.key.rpartition("/")[2].partition("-")[0])].append(info.key)
        for number in sorted(found, reverse=True):
            records = [self._record(key) for key in sorted(found[number])]
            made_by = _made_by(self.job, little)
            good = [record for record in records if record and record.made_by == made_by]
            state = _state_after(plan, number, self.job, good)
            if state:
                return state
        return None

    def piece(self, number: int, index: int) -> Levels:
        """A tile's levels (3, h, w).

        Raises:
            StorageError: if they are not what was put, and then the round will not be found again; NotFoundError,
                AccessError
        """
        key, record_key = (Keys.tile(self.job, number, index, ending) for ending in ("u16", "json"))
        record, data = self._record(record_key), b""
        with suppress(NotFoundError):
            data = self.run.get(key)
        if record is None or hashlib.sha256(data).hexdigest() != record.sha256:
            self.run.delete(record_key)
            raise StorageError(f"{key!r} is damaged; what was kept of its round is dreamed again")
        return np.frombuffer(data, np.uint16).reshape(record.size)

    def clear(self) -> None:
        """Delete all of them."""
        for info in list(self.run.list(Keys.tiles(self.job))):
            self.run.delete(info.key)

    def _record(self, key: str) -> _Record | None:
        with suppress(ValidationError):
            return _RECORD.validate_json(self.run.get(key))
        return None


def _state_after(plan: Plan, number: int, job: Job, records: Iterable[_Record]) -> State | None:
    """The course after round `number`, if all its tiles are there, and of one attempt.

    On graphics cards no two attempts come to the same numbers, and tiles of both would not meet.
    """
    good = [record for record in records if record.state.number == number]
    if number >= len(plan.rounds) or len(good) != len(plan.octave(number).tiles):
        return None
    before = good[0].state
    if any(record.state != before for record in good):
        return None
    course = Course.resumed(plan, job.params, before)
    course.advance([steps for record in good for steps in record.report.steps])
    return replace(course.state(), devices=tuple(sorted({*before.devices, *(made.report.device for made in good)})))


def _made_by(job: Job, little: Floats) -> dict[str, str]:
    return {"job": job.id, "photograph": hashlib.sha256(little.tobytes()).hexdigest(), **versions()}
