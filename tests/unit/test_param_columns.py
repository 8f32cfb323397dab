"""Every parameter as a column: built, read, dreamed with, written to the results and read back, with its type."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.other_values import OTHER_VALUES

from dreamjobs import results
from dreamjobs.jobs import Failure, Job, NamedFile, Outcome
from dreamjobs.manifest import Expander, Known, Manifest, build, open_manifest, param_type
from dreamjobs.params import PARAM_NAMES, DreamParams, make_params
from dreamjobs.storage import LocalStore

TYPES = {
    pa.bool_(): ["keep_colors", "carry_flow"],
    pa.int64(): [
        "octaves",
        "steps",
        "jitter",
        "laplacian_levels",
        "frames",
        "seed",
        "max_side",
        "tile_size",
        "fan_out_tile",
        "fan_out_overlap",
        "sync_steps",
        "threads",
        "quality",
    ],
    pa.float64(): [
        "noise",
        "octave_scale",
        "blend",
        "step_size",
        "until",
        "jitter_scale",
        "jitter_rotate",
        "smoothing",
        "smoothing_growth",
        "zoom",
        "rotate",
        "shift_y",
        "shift_x",
        "carry",
        "fps",
        "fan_out_mpx",
    ],
    pa.string(): [
        "net",
        "weights",
        "labels",
        "objective",
        "start",
        "size",
        "octave_sizes",
        "rescale",
        "schedule",
        "precision",
        "optimizer",
        "normalize",
        "mask",
        "video",
        "overlap",
        "format",
    ],
}
FILES = {name: NamedFile(name, f"/{name}", "aa") for name in ("mask.png", "names.txt")}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.chdir(tmp_path)


def jobs_of(manifest: Manifest) -> list[Job]:
    known = Known(lambda net, weights: "digest", FILES)
    return [job for row in manifest.read() for job in Expander(manifest.base, {}, known).jobs(row)]


def built(mapping: dict[str, Any]) -> Manifest:
    Path("a.png").touch()
    build(["a.png"], "m.parquet", [mapping], sizes=False)
    return open_manifest("m.parquet")


def test_every_parameter_has_a_type() -> None:
    """A column's type follows from what the parameter may be; every parameter is tried here."""
    assert sorted(name for names in TYPES.values() for name in names) == sorted(PARAM_NAMES)
    assert {name: param_type(name) for names in TYPES.values() for name in names} == {
        name: kind for kind, names in TYPES.items() for name in names
    }
    assert set(OTHER_VALUES) == set(PARAM_NAMES)
    assert [name for name, value in OTHER_VALUES.items() if getattr(DreamParams(), name) == value] == []


@pytest.mark.parametrize("name", PARAM_NAMES)
def test_a_value_comes_through(name: str) -> None:
    """A value that is not the default survives the manifest and the results, of the right type in both."""
    expected = make_params({name: OTHER_VALUES[name]})
    (job,) = jobs_of(built({name: OTHER_VALUES[name]}))
    assert pq.read_schema("m.parquet").field(name).type == param_type(name)
    assert job.params == expected
    assert type(getattr(job.params, name)) is type(getattr(expected, name))

    store = LocalStore(os.path.abspath("run"))
    appender = results.Appender(store, "1-of-1", "stamp")
    outcome = Outcome(job, 1, datetime(2024, 5, 1, tzinfo=UTC), failure=Failure("E", "why", False))
    appender.add(results.to_row(outcome, 1, {"torch": "2"}))
    appender.flush()
    table = results.read(store)
    assert table.schema.field(name).type == param_type(name)
    (row,) = table.to_pylist()
    assert make_params({key: row[key] for key in PARAM_NAMES}) == expected


@pytest.mark.parametrize("name", PARAM_NAMES)
def test_values_are_an_axis(name: str) -> None:
    """A list of a value and null, in any column, is two jobs: that value and the default."""
    jobs = jobs_of(built({name: [OTHER_VALUES[name], None]}))
    assert pq.read_schema("m.parquet").field(name).type == pa.list_(param_type(name))
    assert [job.params for job in jobs] == [make_params({name: OTHER_VALUES[name]}), DreamParams()]
    assert len({job.id for job in jobs}) == (1 if name == "weights" else 2)  # weights count by content


@pytest.mark.parametrize("name", PARAM_NAMES)
def test_a_gap_of_pandas_changes_no_id(name: str) -> None:
    """Where pandas writes a column with a gap (whole numbers and flags become floats, or objects), ids are the same."""
    value = OTHER_VALUES[name]
    pd.DataFrame({"image": ["a", "b"], name: [value, None]}).to_parquet("m.parquet")
    first, second = jobs_of(open_manifest("m.parquet"))
    assert (first.params, second.params) == (make_params({name: value}), DreamParams())
    floats = pd.Series([value, None]).astype(float) if isinstance(value, bool) else None
    if floats is not None:
        pd.DataFrame({"image": ["a", "b"], name: floats}).to_parquet("m.parquet")
        assert [job.id for job in jobs_of(open_manifest("m.parquet"))] == [first.id, second.id]


@pytest.mark.parametrize("numbers", [pa.array([512, None]), pa.array([512.0, None]), pa.array([512, None], pa.int16())])
@pytest.mark.parametrize("name", ["size", "octave_sizes"])
def test_a_size_may_be_a_column_of_numbers(name: str, numbers: pa.Array) -> None:
    """A size that is one number may be stored as one, whole or as a float, and means the text."""
    pq.write_table(pa.table({"image": ["a", "b"], name: numbers}), "m.parquet")
    first, second = jobs_of(open_manifest("m.parquet"))
    assert (first.params, second.params) == (make_params({name: "512"}), DreamParams())


def test_all_columns_at_once() -> None:
    """A row may give every parameter."""
    mapping = OTHER_VALUES | {"weights": "s3://bucket/w.pt"}
    (job,) = jobs_of(built(mapping))
    assert job.params == make_params(mapping)
    assert [file.name for file in job.files] == ["mask.png", "names.txt"]
