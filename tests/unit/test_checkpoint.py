"""A dream that is killed goes on at its octave, and comes to the same bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save
from unit.test_octaves import TINY, params, photograph, png

from dreamjobs import worker
from dreamjobs.errors import ParamsError, StorageError
from dreamjobs.jobs import Job, Keys, Source
from dreamjobs.octaves import Progress, dream
from dreamjobs.params import make_params
from dreamjobs.storage import LocalStore
from dreamjobs.worker import Dreamer, Library

pytestmark = pytest.mark.usefixtures("one_thread")

OCTAVES, STEPS = 4, 3


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tile_size": 32, "overlap": 0},
        {"start": "natural"},
        {"start": "blend", "blend": 0.3},
        {"rescale": "picture", "optimizer": "momentum"},
        {"mask": "mask.png", "keep_colors": True},
        {"objective": "edges | parts | things", "until": 0.5, "jitter_scale": 0.1, "jitter_rotate": 5.0},
        {"octave_sizes": "30 30 44 70"},
        {"octave_scale": 3.0},
    ],
)
def test_a_resumed_dream_is_the_uninterrupted_one(values: dict[str, Any]) -> None:
    """From each octave on, picture, objective and error come out as in one go, to the last bit."""
    asked = params(**{"octaves": OCTAVES, "steps": 7, "jitter": 3, **values})
    read = lambda name: png(photograph(20, 26, seed=3))  # noqa: E731
    octaves: list[Progress] = []
    picture = photograph(50, 70).contiguous(memory_format=torch.channels_last)  # as photographs come
    whole = dream(picture, TINY, asked, read=read, on_octave=octaves.append)
    assert [done.octaves for done in octaves] == [1, 2, 3, 4]
    for done in octaves:
        again = dream(picture, TINY, asked, read=read, resume=done)
        assert torch.equal(again.picture, whole.picture)
        assert (again.objective, again.overlap_error) == (whole.objective, whole.overlap_error)


def test_a_resumed_dream_counts_on() -> None:
    """`on_step` goes on after the steps that were taken before."""
    octaves: list[Progress] = []
    asked = params(octaves=3, steps=4)
    dream(photograph(30, 30), TINY, asked, on_octave=octaves.append)
    told: list[tuple[int, int]] = []
    dream(photograph(30, 30), TINY, asked, resume=octaves[0], on_step=lambda *step: told.append(step))
    assert told == [(done, 12) for done in range(5, 13)]


def test_a_dream_of_another_size_is_not_resumed() -> None:
    """Progress of a larger picture is refused with both sizes."""
    octaves: list[Progress] = []
    dream(photograph(60, 60), TINY, params(octaves=2), on_octave=octaves.append)
    with pytest.raises(ParamsError, match=r"a dream of \(43, 43\) \(h, w\) after 1 octaves cannot be resumed"):
        dream(photograph(50, 50), TINY, params(octaves=2), resume=octaves[0])


class Killed(BaseException):
    """Ends a dream as nothing in it expects."""


class Runs:
    """One job, dreamed and stored into RUN as often as asked."""

    def __init__(self, folder: Path) -> None:
        self.run = LocalStore(str(folder / "run"))
        self.photo = folder / "a.png"
        pixels = np.random.default_rng(0).integers(0, 256, (60, 44, 3), np.uint8)
        Image.fromarray(pixels).save(self.photo)
        self.library = Library()
        self.key = Keys.checkpoint(self.job())

    def job(self, **changes: Any) -> Job:
        values = {"net": "tiny", "objective": "things", "octaves": OCTAVES, "steps": STEPS, "jitter": 3} | changes
        asked = make_params(values)
        source = Source(self.photo.name, str(self.photo))
        return Job(1, source, asked, self.library.digest(asked.net, asked.weights))

    def attempt(self, *, checkpoint_s: float = 0.0, kill_after: int | None = None, **changes: Any) -> tuple[bytes, int]:
        """The picture's file, and how many steps this attempt took; it may be killed after a number of steps."""
        job, taken = self.job(**changes), []

        def on_step(done: int, total: int) -> None:
            taken.append(done)
            if len(taken) == kill_after:
                raise Killed

        weights = self.library.weights(job.params.net, job.params.weights)
        work = Dreamer("cpu", checkpoint_s=checkpoint_s).dream(job, worker.fetch(job), weights, on_step, self.run)
        return self.run.get(worker.store(job, work, self.run).key), len(taken)

    def kill(self, after: int) -> None:
        with pytest.raises(Killed):
            self.attempt(kill_after=after)

    def keys(self) -> set[str]:
        return {info.key for info in self.run.list("checkpoints/")}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    return Runs(tmp_path)


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The file of a dream that nothing came between."""
    (tmp_path / "other").mkdir()
    return Runs(tmp_path / "other").attempt(checkpoint_s=1e9)[0]


@pytest.mark.parametrize("octave", range(OCTAVES))
def test_a_killed_dream_does_only_the_octaves_that_are_left(runs: Runs, whole: bytes, octave: int) -> None:
    """Killed within an octave it begins that one again, gives the bytes of one go, and its checkpoint is gone."""
    runs.kill(after=octave * STEPS + 2)
    assert runs.keys() == ({runs.key} if octave else set())
    assert runs.attempt() == (whole, (OCTAVES - octave) * STEPS)
    assert runs.keys() == set()


def test_a_picture_that_could_not_be_stored_is_not_dreamed_again(runs: Runs, whole: bytes) -> None:
    """The last octave is kept too: between it and the stored picture nothing is lost."""
    job = runs.job()
    weights = runs.library.weights("tiny", "default")
    Dreamer("cpu", checkpoint_s=0).dream(job, worker.fetch(job), weights, None, runs.run)
    assert runs.attempt() == (whole, 0)
    assert runs.keys() == set()


def test_a_quick_dream_keeps_nothing(runs: Runs, whole: bytes) -> None:
    """Under the time that a kill may cost, no octave is put under RUN."""
    with pytest.raises(Killed):
        runs.attempt(checkpoint_s=60, kill_after=OCTAVES * STEPS)
    assert runs.keys() == set()


def _without(name: str, data: bytes) -> bytes:
    return save({key: value for key, value in load(data).items() if key != name})


def _other(name: str, data: bytes) -> bytes:
    tensors = load(data)
    tensors[name] = tensors[name].clone()
    tensors[name].view(torch.uint8).view(-1)[7] ^= 1
    return save(tensors)


def _made_by(old: bytes, new: bytes, data: bytes) -> bytes:
    tensors = load(data)
    about = bytes(tensors["about"].tolist())
    assert old in about
    tensors["about"] = torch.frombuffer(bytearray(about.replace(old, new)), dtype=torch.uint8)
    return save(tensors)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"\x00" * 64,
        lambda data: data[:-9],
        lambda data: data[:100],
        lambda data: _without("about", data),
        lambda data: _without("picture", data),
        lambda data: _other("picture", data),
        lambda data: _other("generator", data),
        lambda data: _made_by(b'"torch": "', b'"torch": "1', data),
        lambda data: _made_by(b'"device": "cpu"', b'"device": "other"', data),
        lambda data: _made_by(b'"job": "', b'"job": "0', data),
        lambda data: _made_by(b'"source": "', b'"source": "0', data),
    ],
)
def test_a_checkpoint_that_is_damaged_or_anothers_is_as_if_not_there(runs: Runs, whole: bytes, spoil: Any) -> None:
    """The dream begins anew, comes to the same bytes, and what could not be used is gone."""
    runs.kill(after=2 * STEPS + 1)
    runs.run.put(runs.key, spoil(runs.run.get(runs.key)))
    assert runs.attempt(checkpoint_s=1e9) == (whole, OCTAVES * STEPS)
    assert runs.keys() == set()


def test_another_photograph_of_that_name_is_not_mixed_in(runs: Runs) -> None:
    """Where the manifest does not say what version a photograph has, its bytes do."""
    runs.kill(after=2 * STEPS + 1)
    Image.new("RGB", (44, 60), (90, 120, 40)).save(runs.photo)
    assert runs.attempt()[1] == OCTAVES * STEPS


def test_a_job_with_other_parameters_has_a_checkpoint_of_its_own(runs: Runs) -> None:
    """What another job left is neither used nor deleted."""
    runs.kill(after=2 * STEPS + 1)
    assert runs.attempt(seed=1)[1] == OCTAVES * STEPS
    assert runs.keys() == {runs.key}


class Refusing(LocalStore):
    """A store that puts no files."""

    def put_file(self, key: str, local_path: str) -> None:
        raise StorageError(f"{key!r} could not be put")


def test_a_dream_goes_on_where_it_cannot_be_kept(runs: Runs, whole: bytes) -> None:
    """A store that fails at a checkpoint does not end the dream."""
    runs.run = Refusing(runs.run.url)
    assert runs.attempt() == (whole, OCTAVES * STEPS)
