"""Pieces of a fanned-out picture that are kept under its run: found again if whole, and of the same photograph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dreamjobs.errors import StorageError
from dreamjobs.fanout import Course, Plan, Report, Steps, Task, make_plan
from dreamjobs.fanout.course import Moments
from dreamjobs.jobs import Job, Keys, Source
from dreamjobs.params import make_params
from dreamjobs.schedule.fan import Fan
from dreamjobs.storage import LocalStore
from dreamjobs.worker.kept import Kept

PARAMS = make_params({"fan_out_mpx": 0.1, "fan_out_tile": 256, "fan_out_overlap": 32, "octaves": 2, "steps": 3})
PLAN = make_plan(PARAMS, (520, 520))
JOB = Job(0, Source("a.jpg", "a.jpg", 1, "", 520, 520), PARAMS, "w")
STEPS = Steps((Moments(1.0, 1.0, 1.0, 1),), (1.0,))
REPORT = Report((STEPS,), 2.0, "cpu")
LITTLE = np.zeros((8, 8, 3), np.float32)
PIECE = np.arange(60, dtype=np.uint16).reshape(3, 4, 5) * 1000


def reach(number: int) -> Course:
    """The picture's course before round `number`."""
    course = Course(PLAN, PARAMS)
    while course.number < number:
        course.advance([STEPS] * tiles_in(course.number, PLAN))
    return course


def tiles_in(number: int, plan: Plan) -> int:
    return len(plan.octave(number).tiles)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Rounds 1 and 3, all tiles of each."""
    found = Kept(JOB, LocalStore(str(tmp_path)))
    for number in (1, 3):
        for index in range(tiles_in(number, PLAN)):
            found.put(Task(PLAN, PARAMS, number, index), PIECE, reach(number).state(), REPORT, LITTLE)
    return found


def test_the_last_whole_round_is_found(kept: Kept) -> None:
    """A picture goes on after the last round of which every tile is there, with the pieces that were put."""
    assert kept.find(PLAN, LITTLE) == replace(reach(4).state(), devices=("cpu",))
    np.testing.assert_array_equal(kept.piece(3, 0), PIECE, strict=True)
    kept.run.delete(Keys.tile(JOB, 3, 0, "json"))
    assert kept.find(PLAN, LITTLE) == replace(reach(2).state(), devices=("cpu",))


def test_tiles_of_two_attempts_are_not_put_together(kept: Kept) -> None:
    """Where another attempt, which came to other numbers, kept some, the round before is gone on from."""
    other = reach(3).state()
    kept.put(Task(PLAN, PARAMS, 3, 1), PIECE, replace(other, first=other.first + 1e-9), REPORT, LITTLE)
    assert kept.find(PLAN, LITTLE) == replace(reach(2).state(), devices=("cpu",))


def test_every_device_that_had_a_part_is_told(kept: Kept) -> None:
    """Those of the rounds before, and those of the round itself."""
    state = replace(reach(3).state(), devices=("NVIDIA L4",))
    for index in range(tiles_in(3, PLAN)):
        report = replace(REPORT, device="NVIDIA H100 80GB HBM3" if index else "cpu")
        kept.put(Task(PLAN, PARAMS, 3, index), PIECE, state, report, LITTLE)
    found = kept.find(PLAN, LITTLE)
    assert found is not None
    assert found.devices == ("NVIDIA H100 80GB HBM3", "NVIDIA L4", "cpu")


def test_a_picture_that_is_gone_on_from_tells_them_too() -> None:
    """A fanned-out picture was made on the devices of what was kept, and on those that ended it."""
    fan = Fan(PLAN, PARAMS, 1, replace(reach(3).state(), devices=("NVIDIA L4",)))
    fan.ascended(fan.parts()[0], REPORT)
    assert fan.made().device == "NVIDIA L4, cpu"


def test_another_photograph_goes_on_from_nothing(kept: Kept) -> None:
    """Of another photograph under the same name nothing is taken."""
    assert kept.find(PLAN, LITTLE + 1) is None


@pytest.mark.parametrize("left", [b"0" * 16, None])
def test_a_damaged_piece_is_not_found_again(kept: Kept, left: bytes | None) -> None:
    """What is not what was put, or gone, is an error once, and the picture then goes on from the round before that."""
    key = Keys.tile(JOB, 3, 0, "u16")
    if left is None:
        kept.run.delete(key)
    else:
        kept.run.put(key, left)
    with pytest.raises(StorageError, match="is damaged"):
        kept.piece(3, 0)
    assert kept.find(PLAN, LITTLE) == replace(reach(2).state(), devices=("cpu",))


def test_nothing_is_left_over(kept: Kept) -> None:
    """At the end all of it is deleted."""
    kept.clear()
    assert not list(kept.run.list(Keys.tiles(JOB)))
