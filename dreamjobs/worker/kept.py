"""Finished octaves of a fanned-out picture under RUN, a file a tile, so that what a node or a driver takes with it is
no more than the octave that was being dreamed.

Whoever dreams a tile of an octave's last round puts its piece, if the octave took long; beside it, once it is there, a
small record. An octave of which all records are there is gone on from, if they were made by the same.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from dreamjobs.errors import StorageError, TransientError
from dreamjobs.fanout import Course, Plan, Report, State, Task
from dreamjobs.jobs import Job, Keys
from dreamjobs.storage import Store
from dreamjobs.worker.stages import versions

Floats = NDArray[np.float32]

CHECKPOINT_S = 120.0
"""An octave is kept where its tiles together take an actor so many seconds."""


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

    def put(self, task: Task, piece: Floats, state: State, report: Report) -> None:
        """Keep a tile; a store that does not answer is no reason to end the dream."""
        data = np.ascontiguousarray(piece).tobytes()
        record = _Record(state, report, piece.shape, hashlib.sha256(data).hexdigest(), _made_by(self.job))
        with suppress(TransientError):
            self.run.put(Keys.tile(self.job, task.number, task.index, "f32"), data)
            self.run.put(Keys.tile(self.job, task.number, task.index, "json"), _RECORD.dump_json(record))

    def find(self, plan: Plan) -> State | None:
        """How far an earlier attempt came, by the last octave that is there in full.

        Raises:
            StorageError, AccessError
        """
        found: dict[int, list[str]] = defaultdict(list)
        for info in self.run.list(Keys.tiles(self.job)):
            if info.key.endswith(".json"):
                found[int(info.key.rpartition("/")[2].partition("-")[0])].append(info.key)
        for number in sorted(found, reverse=True):
            records = [self._record(key) for key in sorted(found[number])]
            state = _state_after(plan, number, self.job, [record for record in records if record])
            if state:
                return state
        return None

    def piece(self, number: int, index: int) -> Floats:
        """A tile's pixels (3, h, w).

        Raises:
            StorageError: if they are not what was put; NotFoundError, AccessError
        """
        data, record = self.run.get(Keys.tile(self.job, number, index, "f32")), self._tile_record(number, index)
        if record is None or hashlib.sha256(data).hexdigest() != record.sha256:
            key = Keys.tile(self.job, number, index, "f32")
            raise StorageError(f"{key!r} is damaged; delete {Keys.tiles(self.job)!r} and run again")
        return np.frombuffer(data, np.float32).reshape(record.size)

    def clear(self) -> None:
        """Delete all of them."""
        for info in list(self.run.list(Keys.tiles(self.job))):
            self.run.delete(info.key)

    def _tile_record(self, number: int, index: int) -> _Record | None:
        return self._record(Keys.tile(self.job, number, index, "json"))

    def _record(self, key: str) -> _Record | None:
        with suppress(ValidationError):
            return _RECORD.validate_json(self.run.get(key))
        return None


def _state_after(plan: Plan, number: int, job: Job, records: Iterable[_Record]) -> State | None:
    """The course after round `number`, if all its tiles are there and of one making."""
    made_by = _made_by(job)
    good = [record for record in records if record.made_by == made_by and record.state.number == number]
    if number >= len(plan.rounds) or len(good) != len(plan.octaves[plan.rounds[number].octave].tiles):
        return None
    course = Course.resumed(plan, job.params, good[0].state)
    course.advance([record.report.steps for record in good])
    return course.state()


def _made_by(job: Job) -> dict[str, str]:
    return {"job": job.id, **versions()}
