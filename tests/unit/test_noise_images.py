"""Images that are no photographs: `noise:NAME`, dreamed from noise alone."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dreamjobs import images, ledger, results, worker
from dreamjobs.engine import RunOptions, run
from dreamjobs.errors import ManifestError, ParamsError
from dreamjobs.jobs import NO_PHOTOGRAPH, Job, Keys, Source, Summary
from dreamjobs.manifest import open_manifest
from dreamjobs.params import make_params
from dreamjobs.storage import LocalStore

TINY: dict[str, Any] = {"net": "tiny", "objective": "things", "octaves": 2, "steps": 2, "jitter": 2}
NOISE: dict[str, Any] = TINY | {"start": "noise", "size": "20x24"}
WORDS = "'noise:a' is no photograph: set start to noise or natural, and a size"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.chdir(tmp_path)


def go(columns: dict[str, Any], settings: dict[str, Any], url: str = "run") -> Summary:
    pq.write_table(pa.table(columns), "m.parquet")
    return run("m.parquet", url, settings, RunOptions(inline=True))


def rows_of(url: str = "run") -> list[dict[str, Any]]:
    return results.read(LocalStore(os.path.abspath(url))).to_pylist()


def pixels_of(row: dict[str, Any], url: str = "run") -> Any:
    return np.asarray(Image.open(f"{url}/{row['output']}"))


@pytest.mark.parametrize("start", ["noise", "natural"])
def test_a_run_of_noise_needs_no_photograph(start: str) -> None:
    """Rows of `noise:` are dreamed in the size asked for, each to a picture of its own, and the run verifies."""
    summary = go({"image": ["noise:a", "noise:b/c", "noise:"]}, NOISE | {"start": start})
    assert (summary.done, summary.failed) == (3, 0)
    found = rows_of()
    assert [row["image"] for row in found] == ["noise:a", "noise:b/c", "noise:"]
    assert {(row["height"], row["width"]) for row in found} == {(20, 24)}
    assert {row["output"].rpartition(".")[2] for row in found} == {"png"}
    assert len({row["output"] for row in found}) == 3
    assert pixels_of(found[0]).shape == (20, 24, 3)
    assert pixels_of(found[0]).std() > 0
    audit = ledger.verify(LocalStore(os.path.abspath("run")))
    assert (audit.status.done, audit.broken, audit.orphans) == (3, (), ())


def test_the_seed_and_not_the_name_makes_the_picture() -> None:
    """Two names are two jobs with the same pixels; another seed gives others."""
    go({"image": ["noise:a", "noise:b"]}, NOISE | {"seed": [1, 2]})
    pictures = {(row["image"], row["seed"]): pixels_of(row) for row in rows_of()}
    assert len({row["id"] for row in rows_of()}) == 4
    assert np.array_equal(pictures["noise:a", 1], pictures["noise:b", 1])
    assert not np.array_equal(pictures["noise:a", 1], pictures["noise:a", 2])


def test_a_class_is_pictured_without_a_photograph() -> None:
    """`class:` over noise makes a picture of each class, whose logit rises."""
    go({"image": ["noise:classes"]}, NOISE | {"objective": ["class:3", "class:4"], "steps": 8})
    three, four = rows_of()
    assert not np.array_equal(pixels_of(three), pixels_of(four))
    assert all(row["objective_end"] > row["objective_start"] for row in (three, four))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_of_noise_is_made_again(kind: str) -> None:
    """The recipe is enough: reproduce needs no photograph and gives the same bytes."""
    go({"image": ["noise:a"]}, NOISE | {"format": kind})
    (row,) = rows_of()
    found = worker.reproduce_picture(f"run/{row['output']}")
    assert found.same
    assert found.differences == ()


def test_one_picture_of_noise() -> None:
    """A single dream may be of noise, in the current folder or any other, and is a run's picture."""
    data = worker.one_picture("noise:a", make_params(NOISE), device="cpu")
    go({"image": ["noise:a"]}, NOISE)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels_of(rows_of()[0]))
    assert images.read_recipe(data)["source"]["image"] == "noise:a"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"size": "20x24"},
        {"start": "image", "size": "20x24"},
        {"start": "blend", "size": "20x24"},
        {"start": "noise"},
        {"start": "natural", "size": None},
        {"start": ["noise", "image"], "size": "20x24"},
        {"start": "noise", "size": ["20x24", None]},
    ],
)
def test_what_needs_a_photograph_is_listed(wrong: dict[str, Any]) -> None:
    """Where any point of a row needs a photograph and there is none, the row is listed with the words to mend it."""
    with pytest.raises(ManifestError) as caught:
        go({"image": ["photo.png", "noise:a"]}, TINY | wrong)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [f"row 2: {WORDS}"]
    assert not os.path.exists("run")


def test_cells_may_say_it_too() -> None:
    """Start and size may be columns, so that photographs and noise stand in one manifest."""
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save("photo.png")
    columns = {"image": ["photo.png", "noise:a"], "start": [None, "natural"], "size": [None, "30"]}
    assert go(columns, TINY).done == 2
    assert [(row["height"], row["width"]) for row in rows_of()] == [(20, 24), (30, 30)]
    with pytest.raises(ManifestError, match=f"row 1: {WORDS}"):
        go({"image": ["noise:a"], "start": ["image"], "size": ["30"]}, TINY, "other")


@pytest.mark.parametrize("wrong", [{"size": "20x24"}, {"start": "noise"}, {"start": "blend", "size": "20x24"}])
def test_one_picture_without_a_photograph_is_refused(wrong: dict[str, Any]) -> None:
    """The same words where a single picture is asked for."""
    with pytest.raises(ParamsError, match=WORDS):
        worker.one_picture("noise:a", make_params(TINY | wrong), device="cpu")


def test_a_name_is_no_path(tmp_path: Path) -> None:
    """What follows `noise:` is taken from no folder, wherever the manifest lies, and its key stays under images/."""
    names = ["noise:/etc/passwd", "noise:../../x", "noise:s3://b/k", "noise:a?b"]
    go({"image": names}, NOISE | {"steps": 1})
    found = rows_of()
    assert {row["status"] for row in found} == {"done"}
    assert all(row["output"].startswith(Keys.IMAGES) and ".." not in row["output"] for row in found)
    assert all(os.path.isfile(tmp_path / "run" / row["output"]) for row in found)
    manifest = open_manifest("m.parquet")
    assert [row.cells["image"] for row in manifest.read()] == names


def test_photographs_of_any_other_name_are_files() -> None:
    """Only the beginning `noise:` is taken for noise, in that spelling."""
    assert NO_PHOTOGRAPH == "noise:"
    for name in ("Noise:a.png", "a/noise:b.png", "noise.png"):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(name)
        job = Job(1, Source(name, os.path.abspath(name)), make_params(TINY), "")
        assert worker.fetch(job).source_size == (20, 24)
