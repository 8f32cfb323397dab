"""The stages of one job in one process, and pictures made again from their recipe."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import re
import shutil
import socket
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamjobs import images, worker
from dreamjobs.engine import RunOptions, run
from dreamjobs.engine.backend import InlineBackend
from dreamjobs.errors import (
    ImageError,
    NetError,
    NotFoundError,
    ParamsError,
    RunError,
    SourceChangedError,
    StorageError,
)
from dreamjobs.jobs import Job, Source
from dreamjobs.manifest import build
from dreamjobs.params import DreamParams, make_params
from dreamjobs.schedule import StageDone, Start
from dreamjobs.storage import LocalStore
from dreamjobs.weights import Weights
from dreamjobs.worker import Dreamer, Library, Result, Work, attempt

TINY: dict[str, Any] = {"net": "tiny", "objective": "things", "octaves": 2, "steps": 2, "jitter": 2}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.chdir(tmp_path)


def photo(path: Path, *, seed: int = 0, size: tuple[int, int] = (24, 20)) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def a_job(url: str, library: Library, **changes: Any) -> Job:
    params = make_params(TINY | changes)
    return Job(1, Source(os.path.basename(url), url), params, library.digest(params.net, params.weights))


def made(path: Path, **changes: Any) -> bytes:
    """A dreamed picture as a run makes it."""
    library = Library()
    job = a_job(str(path), library, **changes)
    work = Dreamer("cpu").dream(job, worker.fetch(job), library.weights(job.params.net, job.params.weights))
    run = LocalStore(str(path.parent / "run"))
    return run.get(worker.store(job, work, run).key)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ImageError("bad"), False),
        (StorageError("slow"), True),
        (OSError("io"), True),
        (MemoryError(), True),
        (ZeroDivisionError("bug"), False),
        (RecursionError(), False),
    ],
)
def test_attempt_turns_every_exception_into_a_failure(error: Exception, retryable: bool) -> None:
    """Type, message and whether to try again are kept, and where it was but for bad input; nothing is raised."""

    def stage() -> None:
        raise error

    failure = attempt(stage).failure
    assert failure is not None
    assert (failure.type, failure.retryable) == (type(error).__name__, retryable)
    assert failure.message == (str(error) or repr(error))
    assert ("in stage" in failure.traceback) != isinstance(error, ImageError)


def test_attempt_gives_the_value() -> None:
    """What a stage returns comes back, with no failure."""
    assert attempt(lambda x, y: x + y, 1, 2) == Result(value=3, failure=None)


def test_attempt_lets_an_interrupt_through() -> None:
    """Ctrl-C ends the run and is no failure of a job."""

    def stage() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(stage)


def test_who_dreamed_is_told_and_is_not_in_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node and actor are of the process that dreamed, not of the one that stored; the bytes know of neither."""
    library, run = Library(), LocalStore(str(tmp_path / "run"))
    job = a_job(photo(tmp_path / "a.png"), library)
    weights = library.weights(job.params.net, job.params.weights)
    stored = []
    for node in ("gpu-1", "gpu-2"):
        monkeypatch.setattr(socket, "gethostname", lambda node=node: node)
        work = Dreamer("cpu").dream(job, worker.fetch(job), weights)
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        stored.append(worker.store(job, work, run))
    assert [(item.node, item.actor) for item in stored] == [(n, f"{n}:{os.getpid()}") for n in ("gpu-1", "gpu-2")]
    assert len({item.sha256 for item in stored}) == 1


def test_a_long_message_is_cut() -> None:
    """A message of a megabyte does not swell the results."""
    assert len(worker.as_failure(ValueError("x" * 1_000_000)).message) == 2000


def test_fetch_reads_decodes_and_shrinks(tmp_path: Path) -> None:
    """The work holds the picture at its size, the source's size and the digest of its bytes."""
    url = photo(tmp_path / "a.png", size=(40, 20))
    work = worker.fetch(a_job(url, Library(), max_side=10))
    assert work.photo.pixels.shape == (5, 10, 3)
    assert work.source_size == (20, 40)
    assert work.source_sha256 == hashlib.sha256(Path(url).read_bytes()).hexdigest()
    assert work.seconds.fetch > 0
    assert work.seconds.decode > 0


def test_fetch_of_nothing_says_so(tmp_path: Path) -> None:
    """A photograph that is not there is a NotFoundError with its path."""
    with pytest.raises(NotFoundError, match=r"gone\.png"):
        worker.fetch(a_job(str(tmp_path / "gone.png"), Library()))


def test_a_net_that_is_dropped_is_let_go_of() -> None:
    """Of many nets a process keeps four; what an older one held is free at once, though its readers hold it too."""
    dreamer, weights = Dreamer("cpu"), Library().weights("tiny", "random")
    gc.disable()
    try:
        net = dreamer.net("tiny", weights)
        net.reader(("things",))
        held = weakref.ref(net)
        del net
        for number in range(4):
            assert held() is not None
            dreamer.net("tiny", Weights(weights.data, f"another {number}"))
        assert held() is None
    finally:
        gc.enable()


def test_what_is_made_together_is_what_is_made_alone(tmp_path: Path) -> None:
    """Each picture has the bytes that the stages by themselves give it, and its artifact comes in its job's place."""
    library, run = Library(), LocalStore(str(tmp_path / "run"))
    jobs = [a_job(photo(tmp_path / f"{seed}.png", seed=seed), library, seed=seed) for seed in range(5)]
    dreamer, weights = Dreamer("cpu"), library.weights(jobs[0].params.net, jobs[0].params.weights)
    results = worker.make(jobs, lambda job, work: dreamer.dream(job, work, weights), run)
    for seed, result in enumerate(results):
        assert run.get(result.value.key) == made(tmp_path / f"{seed}.png", seed=seed)


def test_a_bundle_that_takes_long_is_ended(tmp_path: Path) -> None:
    """After so long the next is not begun."""
    library, run = Library(), LocalStore(str(tmp_path / "run"))
    jobs = [a_job(photo(tmp_path / f"{seed}.png", seed=seed), library) for seed in range(3)]
    jobs += [a_job(str(tmp_path / "none.png"), library)] * 5
    dreamer, weights = Dreamer("cpu"), library.weights(jobs[0].params.net, jobs[0].params.weights)
    begun: list[Job] = []

    def dream(job: Job, work: Work) -> Work:
        begun.append(job)
        time.sleep(1.0 if len(begun) == 2 else 0)
        return dreamer.dream(job, work, weights)

    results = worker.make(jobs, dream, run, patience_s=0.9)
    assert begun == jobs[:2]
    assert [result.value.key for result in results] == [info.key for info in run.list("images/")]


def test_what_fails_of_a_bundle_fails_alone(tmp_path: Path) -> None:
    """A photograph that is none, a dream and a store that fail: each its own failure, and the others are made."""

    class Full(LocalStore):
        def put(self, key: str, data: bytes) -> None:
            if "3" in key:
                raise StorageError("full")
            super().put(key, data)

    library, run = Library(), Full(str(tmp_path / "run"))
    jobs = [a_job(photo(tmp_path / f"{seed}.png", seed=seed), library) for seed in range(5)]
    (tmp_path / "1.png").write_bytes(b"no picture")
    dreamer, weights = Dreamer("cpu"), library.weights(jobs[0].params.net, jobs[0].params.weights)

    def dream(job: Job, work: Work) -> Work:
        if job is jobs[2]:
            raise MemoryError("too large")
        return dreamer.dream(job, work, weights)

    results = worker.make(jobs, dream, run)
    assert [result.failure and result.failure.type for result in results] == [
        None,
        "ImageError",
        "MemoryError",
        "StorageError",
        None,
    ]
    assert [result.failure.retryable for result in results if result.failure] == [False, True, True]
    assert sorted(info.key for info in run.list("images/")) == [results[0].value.key, results[4].value.key]


def test_the_same_job_gives_the_same_file(tmp_path: Path) -> None:
    """Twice the same job, in dreamers of their own: one key, one digest; another seed gives another picture."""
    url = photo(tmp_path / "a.png")
    library = Library()
    artifacts = []
    for folder, seed in (("r1", 1), ("r2", 1), ("r3", 2)):
        job = a_job(url, library, seed=seed)
        work = Dreamer("cpu").dream(job, worker.fetch(job), library.weights("tiny", "default"))
        artifacts.append(worker.store(job, work, LocalStore(str(tmp_path / folder))))
    first, again, other = artifacts
    assert (first.key, first.sha256) == (again.key, again.sha256)
    assert (first.key == other.key, first.sha256 == other.sha256) == (False, False)
    data = (tmp_path / "r1" / first.key).read_bytes()
    assert hashlib.sha256(data).hexdigest() == first.sha256
    assert (first.size_bytes, first.width, first.height) == (len(data), 24, 20)
    assert len(first.objective) == 4
    assert first.objective[-1] > first.objective[0]


def test_a_used_dreamer_dreams_as_a_new_one(tmp_path: Path) -> None:
    """What an actor dreamed before leaves no trace in the next picture."""
    library, used = Library(), Dreamer("cpu")
    job = a_job(photo(tmp_path / "a.png"), library)
    other = a_job(photo(tmp_path / "b.png", seed=1), library, objective="edges:1", threads=2, octaves=3)
    weights = library.weights("tiny", "default")
    fresh = Dreamer("cpu").dream(job, worker.fetch(job), weights)
    used.dream(other, worker.fetch(other), weights)
    assert np.array_equal(used.dream(job, worker.fetch(job), weights).photo.pixels, fresh.photo.pixels)


def test_a_photograph_travels_in_its_own_bits(tmp_path: Path) -> None:
    """What keeps its size is not made floats before it is dreamed, and what is dreamed has the bits of its file."""
    library = Library()
    grey = np.random.default_rng(0).integers(0, 65_536, (20, 24), np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    kinds = {}
    for url in (photo(tmp_path / "a.png"), str(tmp_path / "deep.png")):
        for side in (None, 24, 12):
            job = a_job(url, library, max_side=side)
            work = worker.fetch(job)
            dreamed = Dreamer("cpu").dream(job, work, library.weights("tiny", "default"))
            kinds[job.source.image, side] = (work.photo.pixels.dtype.name, dreamed.photo.pixels.dtype.name)
    assert kinds == {
        ("a.png", None): ("uint8", "uint8"),
        ("a.png", 24): ("uint8", "uint8"),
        ("a.png", 12): ("float32", "uint8"),
    } | {("deep.png", side): ("float32", "uint8") for side in (None, 24, 12)}


@pytest.mark.parametrize("max_side", [None, 12])
def test_dreaming_leaves_its_input(tmp_path: Path, max_side: int | None) -> None:
    """The fetched work is not written to, so that it can be dreamed again after a failure."""
    library = Library()
    job = a_job(photo(tmp_path / "a.png"), library, max_side=max_side)
    work = worker.fetch(job)
    before = work.photo.pixels.copy()
    work.photo.pixels.flags.writeable = False
    Dreamer("cpu").dream(job, work, library.weights("tiny", "default"))
    assert np.array_equal(work.photo.pixels, before)


def test_a_dreamer_keeps_the_nets_used_last() -> None:
    """A net is loaded once and stays while few others are used; then the one used longest ago goes."""
    library, dreamer = Library(), Dreamer("cpu")
    blob = library.weights("tiny", "default")
    nets = [type(blob)(blob.data, str(number)) for number in range(6)]
    first = dreamer.net("tiny", nets[0])
    assert dreamer.net("tiny", nets[0]) is first
    for weights in nets[1:4]:
        dreamer.net("tiny", weights)
    assert dreamer.net("tiny", nets[0]) is first
    for weights in nets[1:5]:
        dreamer.net("tiny", weights)
    assert dreamer.net("tiny", nets[0]) is not first


def test_weights_are_read_once(tmp_path: Path) -> None:
    """A library reads a weights file at its first use and not again."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(Library().weights("tiny", "random").data)
    library = Library()
    digest = library.digest("tiny", str(path))
    path.unlink()
    assert library.digest("tiny", str(path)) == digest == Library().digest("tiny", "random")
    assert library.digests() == {f"tiny|{path}": digest}


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "avif", "heic"])
def test_the_recipe_is_in_the_file(tmp_path: Path, kind: str) -> None:
    """Every format carries all parameters, the job, the source and the versions, and no time of day."""
    photo(tmp_path / "a.png")
    recipe = images.read_recipe(made(tmp_path / "a.png", format=kind, seed=5))
    assert make_params(recipe["params"]) == make_params(TINY | {"format": kind, "seed": 5})
    assert recipe["source"]["image"] == "a.png"
    assert recipe["source"]["sha256"] == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert recipe["job"] == a_job(str(tmp_path / "a.png"), Library(), format=kind, seed=5).id
    assert recipe["versions"] == worker.versions()
    assert "seconds" not in json.dumps(recipe)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "avif"])
def test_reproduce_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """The recipe in a picture is enough to make it again, to the byte."""
    photo(tmp_path / "a.png")
    (tmp_path / "out").write_bytes(made(tmp_path / "a.png", format=kind, objective="parts:1 + 0.5*edges"))
    found = worker.reproduce_picture(str(tmp_path / "out"))
    assert found.same
    assert found.data == (tmp_path / "out").read_bytes()
    assert found.differences == ()


def test_a_photograph_that_moved_is_named(tmp_path: Path) -> None:
    """Where the photograph is gone it is a NotFoundError; with its new place the bytes are the same."""
    photo(tmp_path / "a.png")
    (tmp_path / "out.png").write_bytes(made(tmp_path / "a.png"))
    shutil.move(tmp_path / "a.png", tmp_path / "moved.png")
    with pytest.raises(NotFoundError, match=r"a\.png"):
        worker.reproduce_picture(str(tmp_path / "out.png"))
    assert worker.reproduce_picture(str(tmp_path / "out.png"), source="moved.png").same


def test_another_photograph_is_reported(tmp_path: Path) -> None:
    """A photograph with other content is refused, in its old place or a named one."""
    photo(tmp_path / "a.png")
    (tmp_path / "out.png").write_bytes(made(tmp_path / "a.png"))
    photo(tmp_path / "b.png", seed=9)
    with pytest.raises(ImageError, match=r"b\.png.* is not what .*out\.png.* was made from"):
        worker.reproduce_picture(str(tmp_path / "out.png"), source=str(tmp_path / "b.png"))
    photo(tmp_path / "a.png", seed=9)
    with pytest.raises(ImageError, match="is not what"):
        worker.reproduce_picture(str(tmp_path / "out.png"))


def test_changed_parameters_are_told(tmp_path: Path) -> None:
    """With a parameter changed the picture differs, and the change is among the differences."""
    photo(tmp_path / "a.png")
    (tmp_path / "out.png").write_bytes(made(tmp_path / "a.png"))
    found = worker.reproduce_picture(str(tmp_path / "out.png"), overrides={"steps": 1})
    assert not found.same
    assert "params steps: 2 -> 1" in found.differences


def with_recipe(path: Path, **changes: Any) -> str:
    """A picture whose recipe someone else wrote."""
    photo(path / "a.png")
    data = made(path / "a.png")
    recipe = images.read_recipe(data)
    recipe["params"] |= changes.pop("params", {})
    recipe |= changes
    data = images.encode(images.decode(data), format="png", quality=90, recipe=recipe)
    (path / "crafted.png").write_bytes(data)
    return str(path / "crafted.png")


def test_a_recipe_can_name_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is untrusted input: a net of code in its recipe is refused and not imported."""
    (tmp_path / "evil_net.py").write_text("open('ran', 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ParamsError, match="names code"):
        worker.reproduce_picture(with_recipe(tmp_path, params={"net": "evil_net:make"}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes",
    [{"source": None}, {"source": {}}, {"source": {"image": "a", "what": 1}}, {"params": {"steps": None}, "source": 5}],
)
def test_a_damaged_recipe_is_an_image_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A recipe of another shape is told as what is wrong with the picture."""
    with pytest.raises(ImageError, match=r"recipe in .*crafted\.png.* is damaged"):
        worker.reproduce_picture(with_recipe(tmp_path, **changes))


def test_a_picture_without_a_recipe_is_refused(tmp_path: Path) -> None:
    """A plain photograph cannot be reproduced, and the error says why."""
    with pytest.raises(ImageError, match="carries no dreamjobs recipe"):
        worker.reproduce_picture(photo(tmp_path / "a.png"))


def test_one_picture_is_what_a_run_makes(tmp_path: Path) -> None:
    """`one_picture` gives a file with pixels equal to a run's for the same parameters."""
    photo(tmp_path / "a.png")
    data = worker.one_picture(str(tmp_path / "a.png"), make_params(TINY), device="cpu")
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(made(tmp_path / "a.png"))))
    )


def test_one_picture_tells_when_its_gradient_was_not_exact(tmp_path: Path) -> None:
    """A narrow overlap is told with the error that it makes, an exact one is not."""
    notes: list[str] = []
    url = photo(tmp_path / "a.png", size=(90, 80))
    one_tile_of_many = TINY | {"tile_size": 32}
    worker.one_picture(url, make_params(one_tile_of_many), on_note=notes.append, device="cpu")
    assert notes == []
    worker.one_picture(url, make_params(one_tile_of_many | {"overlap": 0}), on_note=notes.append, device="cpu")
    (note,) = notes
    assert re.search(r"gradient is off by [0-9.]+% of the exact one", note)


def test_one_picture_tells_its_steps(tmp_path: Path) -> None:
    """Every step of every octave is reported, to the total."""
    seen: list[tuple[int, int]] = []
    worker.one_picture(photo(tmp_path / "a.png"), make_params(TINY), on_step=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_job_travels(tmp_path: Path) -> None:
    """Jobs and works survive pickling between processes with their ids."""
    import pickle

    job = a_job(photo(tmp_path / "a.png"), Library())
    assert pickle.loads(pickle.dumps(job)) == job
    work = pickle.loads(pickle.dumps(worker.fetch(job)))
    assert isinstance(work, Work)
    assert job.params == DreamParams(**TINY)


def test_equal_jobs_give_equal_bytes_wherever_things_lie(tmp_path: Path) -> None:
    """Neither the place of the photograph nor that of the weights is in the picture; both jobs have one id."""
    made_of = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        url = photo(tmp_path / folder / "a.png")
        (tmp_path / folder / f"{folder}.safetensors").write_bytes(Library().weights("tiny", "default").data)
        library = Library()
        job = a_job(url, library, weights=str(tmp_path / folder / f"{folder}.safetensors"))
        work = Dreamer("cpu").dream(job, worker.fetch(job), library.weights("tiny", job.params.weights))
        run = LocalStore(str(tmp_path / folder / "run"))
        made_of.append((job.id, run.get(worker.store(job, work, run).key)))
    assert made_of[0] == made_of[1]
    assert str(tmp_path).encode() not in made_of[0][1]


@pytest.mark.parametrize("change", [{"size_bytes": 1}, {"version": "mtime:1"}])
def test_a_photograph_replaced_since_the_manifest_is_an_input_error(tmp_path: Path, change: dict[str, Any]) -> None:
    """What is read is the version that the job's id stands for, or the job fails and says what to do."""
    url = photo(tmp_path / "a.png")
    info = LocalStore(str(tmp_path)).info("a.png")
    assert info is not None
    named = Source("a.png", url, info.size_bytes, info.version)
    job = a_job(url, Library())
    worker.fetch(replace(job, source=named))
    with pytest.raises(SourceChangedError, match="build the manifest again"):
        worker.fetch(replace(job, source=replace(named, **change)))


def test_a_picture_in_its_run_finds_photograph_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reproduce asks the run that a picture lies in where its photograph and its weights file are."""
    (tmp_path / "archive").mkdir()
    photo(tmp_path / "archive" / "a.png")
    (tmp_path / "w.safetensors").write_bytes(Library().weights("tiny", "default").data)
    build([str(tmp_path / "archive")], str(tmp_path / "archive" / "m.parquet"), [TINY])
    run("archive/m.parquet", "out", {"weights": "w.safetensors"}, RunOptions(inline=True))
    (picture,) = (str(path) for path in (tmp_path / "out").rglob("*.png"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert worker.reproduce_picture(picture).same


def test_other_weights_are_refused_before_dreaming(tmp_path: Path) -> None:
    """A picture made with weights that are not at hand is not made again with others."""
    crafted = with_recipe(tmp_path, weights_digest="0" * 64)
    with pytest.raises(NetError, match="made with other weights"):
        worker.reproduce_picture(crafted)


def test_an_error_of_the_driver_is_not_the_jobs(tmp_path: Path) -> None:
    """What goes wrong in the driver's tick during a dream in this process ends the run, not the job."""

    def lost() -> None:
        raise RunError("another driver took over")

    job = a_job(photo(tmp_path / "a.png"), Library())
    backend = InlineBackend(LocalStore(str(tmp_path / "run")), Library(), "cpu", lost)
    backend.perform(Start(job, "fetch"))
    backend.perform(Start(job, "dream", 0))
    assert backend.events(0) == [StageDone(job.id, "fetch")]
    with pytest.raises(RunError, match="took over"):
        backend.events(0)


def test_classify_names_the_likeliest_first(tmp_path: Path) -> None:
    """The guesses are ordered, each class once, and all of them together are certain."""
    guesses = worker.classify_picture(photo(tmp_path / "a.png"), "tiny", "default", 10)
    assert sorted(guess.label for guess in guesses) == sorted(map(str, range(10)))
    assert [guess.probability for guess in guesses] == sorted((guess.probability for guess in guesses), reverse=True)
    assert sum(guess.probability for guess in guesses) == pytest.approx(1)
    assert worker.classify_picture(str(tmp_path / "a.png"), "tiny", "default", 3) == guesses[:3]
