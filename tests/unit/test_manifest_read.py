"""Reading manifests: whatever wrote the Parquet file, the rows and their jobs are the same."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamjobs.errors import ManifestError, NotFoundError
from dreamjobs.jobs import Job
from dreamjobs.manifest import Expander, Known, Manifest, open_manifest
from dreamjobs.params import DreamParams

ROWS = [
    {"image": "a.jpg", "size_bytes": 10, "octaves": [3, 4], "octave_scale": 1.4, "meta_place": "Köln"},
    {"image": "b/ü %2F.png", "size_bytes": 20, "octaves": [2], "octave_scale": 1.8, "meta_place": "Oslo"},
]
PLAIN = pa.table(
    {
        "image": [row["image"] for row in ROWS],
        "size_bytes": pa.array([10, 20], pa.int64()),
        "octaves": pa.array([[3, 4], [2]], pa.list_(pa.int64())),
        "octave_scale": pa.array([1.4, 1.8], pa.float64()),
        "meta_place": ["Köln", "Oslo"],
    }
)


def replaced(name: str, column: Any) -> pa.Table:
    return PLAIN.set_column(PLAIN.schema.get_field_index(name), name, column)


SHAPES = {
    "plain": PLAIN,
    "large_string": replaced("image", PLAIN["image"].cast(pa.large_string())),
    "string_view": replaced("image", PLAIN["image"].cast(pa.string_view())),
    "dictionary": replaced("image", PLAIN["image"].dictionary_encode()),
    "large_list": replaced("octaves", PLAIN["octaves"].cast(pa.large_list(pa.int64()))),
    "list of int32": replaced("octaves", PLAIN["octaves"].cast(pa.list_(pa.int32()))),
    "list of float": replaced("octaves", PLAIN["octaves"].cast(pa.list_(pa.float64()))),
    "int32": replaced("size_bytes", PLAIN["size_bytes"].cast(pa.int32())),
    "uint16": replaced("size_bytes", PLAIN["size_bytes"].cast(pa.uint16())),
    "whole numbers as floats": replaced("size_bytes", PLAIN["size_bytes"].cast(pa.float64())),
    "float32": replaced("octave_scale", PLAIN["octave_scale"].cast(pa.float32())),
    "decimal": replaced("octave_scale", PLAIN["octave_scale"].cast(pa.decimal128(3, 1))),
    "extra metadata": PLAIN.replace_schema_metadata({"pandas": "no json"}),
}


def jobs_of(manifest: Manifest, overrides: dict[str, Any] | None = None) -> list[Job]:
    return [
        job
        for row in manifest.read()
        for job in Expander(manifest.base, overrides or {}, Known(lambda net, weights: "digest")).jobs(row)
    ]


def written(path: Path, table: pa.Table) -> Manifest:
    pq.write_table(table, path / "m.parquet")
    return open_manifest(str(path / "m.parquet"))


@pytest.fixture
def expected(tmp_path: Path) -> list[Job]:
    return jobs_of(written(tmp_path, PLAIN))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_pyarrow_gives_the_same_jobs(tmp_path: Path, expected: list[Job], shape: str) -> None:
    """The type that a column is stored as changes neither rows nor jobs nor their ids."""
    found = jobs_of(written(tmp_path, SHAPES[shape]))
    assert found == expected
    assert [job.params.octaves for job in found] == [3, 4, 2]
    assert [job.params.octave_scale for job in found] == [1.4, 1.4, 1.8]


def with_pandas(path: str) -> None:
    pd.DataFrame(ROWS).to_parquet(path, index=False)


def with_pandas_numpy_cells(path: str) -> None:
    rows = [row | {"octaves": np.array(row["octaves"])} for row in ROWS]
    pd.DataFrame(rows).astype({"image": "category"}).to_parquet(path, index=False)


def with_polars(path: str) -> None:
    pl.DataFrame(ROWS).write_parquet(path)


def with_polars_categories(path: str) -> None:
    pl.DataFrame(ROWS).with_columns(
        pl.col("image").cast(pl.Categorical), pl.col("octave_scale").cast(pl.Float32)
    ).write_parquet(path)


def with_duckdb(path: str) -> None:
    duckdb.sql(
        "COPY (SELECT * FROM (VALUES ('a.jpg', 10, [3, 4], 1.4, 'Köln'), ('b/ü %2F.png', 20, [2], 1.8, 'Oslo'))"
        f" AS t(image, size_bytes, octaves, octave_scale, meta_place)) TO '{path}' (FORMAT parquet)"
    )


@pytest.mark.parametrize(
    "write", [with_pandas, with_pandas_numpy_cells, with_polars, with_polars_categories, with_duckdb]
)
def test_every_library_gives_the_same_jobs(tmp_path: Path, expected: list[Job], write: Callable[[str], None]) -> None:
    """Manifests of pandas, polars and DuckDB (which writes 1.4 as a decimal) are read as pyarrow's are."""
    write(str(tmp_path / "m.parquet"))
    assert jobs_of(open_manifest(str(tmp_path / "m.parquet"))) == expected


def test_a_list_of_one_length_is_an_axis(tmp_path: Path) -> None:
    """A fixed-size list is a list."""
    table = pa.table({"image": ["a", "b"], "steps": pa.array([[1, 2], [3, 4]], pa.list_(pa.int16(), 2))})
    assert [job.params.steps for job in jobs_of(written(tmp_path, table))] == [1, 2, 3, 4]


def test_a_dictionary_of_texts_is_a_parameter(tmp_path: Path) -> None:
    """Repeated texts stored as a dictionary are values like any other."""
    table = pa.table({"image": ["a", "b"], "objective": pa.array(["edges", "parts"]).dictionary_encode()})
    assert [job.params.objective for job in jobs_of(written(tmp_path, table))] == ["edges", "parts"]


def test_null_is_the_default(tmp_path: Path) -> None:
    """A null cell, a null in a list and a column of nulls alone mean the parameter's default."""
    table = pa.table(
        {
            "image": ["a", "b"],
            "octaves": pa.array([None, [None, 2]], pa.list_(pa.int64())),
            "steps": pa.array([None, 3], pa.int64()),
            "net": pa.nulls(2),
            "mtime": pa.array([None, 5], pa.int64()),
        }
    )
    found = jobs_of(written(tmp_path, table))
    assert [(job.params.octaves, job.params.steps) for job in found] == [(4, 10), (4, 3), (2, 3)]
    assert {job.params.net for job in found} == {DreamParams().net}
    assert [job.source.version for job in found] == ["", "mtime:5", "mtime:5"]


def test_a_gap_in_pandas_does_not_change_ids(tmp_path: Path) -> None:
    """Pandas turns whole numbers with a gap into floats; sizes, times and ids stay what they were."""
    whole = pa.table({"image": ["a"], "size_bytes": [7], "mtime": [1_700_000_000_000_000_000], "steps": [3]})
    expected = jobs_of(written(tmp_path, whole))
    frame = pd.DataFrame(
        {"image": ["a", "b"], "size_bytes": [7, None], "mtime": [1_700_000_000_000_000_000, None], "steps": [3, None]}
    )
    frame.to_parquet(tmp_path / "m.parquet", index=False)
    assert jobs_of(open_manifest(str(tmp_path / "m.parquet")))[:1] == expected


def test_names_are_taken_relative_to_the_manifest(tmp_path: Path) -> None:
    """Relative paths start at the manifest's folder; absolute ones and s3 urls stand for themselves."""
    table = pa.table({"image": ["x/a.jpg", "../b.jpg", "/c.jpg", "s3://bucket/d e%2F.jpg"]})
    urls = [job.source.url for job in jobs_of(written(tmp_path, table))]
    assert urls == [f"{tmp_path}/x/a.jpg", f"{tmp_path.parent}/b.jpg", "/c.jpg", "s3://bucket/d e%2F.jpg"]


def test_a_weights_file_is_taken_relative_to_the_manifest(tmp_path: Path) -> None:
    """weights names a file by its path from the manifest; published names are left alone."""
    table = pa.table({"image": ["a"] * 3, "weights": ["w/x.safetensors", "IMAGENET1K_V1", "s3://b/w.pt"]})
    found = [job.params.weights for job in jobs_of(written(tmp_path, table))]
    assert found == [f"{tmp_path}/w/x.safetensors", "IMAGENET1K_V1", "s3://b/w.pt"]


def test_meta_columns_are_carried(tmp_path: Path) -> None:
    """Columns meta_* come along with whatever they hold, null ones left out."""
    day = datetime.date(2024, 5, 1)
    table = pa.table({"image": ["a", "b"], "meta_day": [day, None], "meta_tags": [["x", "y"], []]})
    assert [job.meta for job in jobs_of(written(tmp_path, table))] == [
        {"meta_day": day, "meta_tags": ["x", "y"]},
        {"meta_tags": []},
    ]


CARRIED = {
    "text": pa.array(["a", None]),
    "view of text": pa.array(["a", None]).cast(pa.string_view()),
    "words": pa.array(["a", None]).dictionary_encode(),
    "unsigned": pa.array([2**63 - 1, 0], pa.uint64()),
    "many unsigned": pa.array([[1, 2], None], pa.list_(pa.uint64())),
    "large lists": pa.array([["a"], []], pa.large_list(pa.string())),
    "lists of lists": pa.array([[[1.5]], [[], None]], pa.list_(pa.list_(pa.float64()))),
    "one length": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
    "half": pa.array(np.array([1.5, 2.5], np.float16)),
    "decimal": pa.array([1, None], pa.decimal128(38, 0)),
    "wide decimal": pa.array([1, None], pa.decimal256(76, 2)),
    "nanoseconds": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns")),
    "zone": pa.array([1_700_000_000, None], pa.timestamp("s", tz="Europe/Berlin")),
    "day": pa.array([datetime.date(2024, 5, 1), None], pa.date64()),
    "truth": pa.array([True, None]),
    "nothing": pa.nulls(2),
}


@pytest.mark.parametrize("kind", CARRIED)
def test_what_is_carried_can_be_written_again(tmp_path: Path, kind: str) -> None:
    """The cells of every type of `meta_*` column that is allowed become a column of the results."""
    table = pa.table({"image": ["a", "b"], "meta_x": CARRIED[kind]})
    cells = [row.meta.get("meta_x") for row in written(tmp_path, table).read()]
    assert len(pa.array(cells)) == 2


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([{"a": 1}]),
        pa.array([[{"a": 1}]]),
        pa.array([b"a"]),
    ],
    ids=lambda column: str(column.type),
)
def test_what_cannot_be_carried_is_refused(tmp_path: Path, column: pa.Array) -> None:
    """A `meta_*` column of maps, structs or bytes is named with its type and what is allowed."""
    with pytest.raises(ManifestError, match=r"'meta_x' holds (map|struct|list|binary).*; .*: write it as text"):
        written(tmp_path, pa.table({"image": ["a"], "meta_x": column}))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([0], pa.timestamp("us", tz="No/Where")),
    ],
    ids=lambda column: str(column.type),
)
def test_a_cell_beyond_reading_is_refused(tmp_path: Path, column: pa.Array) -> None:
    """A number above 2^63 or a time beyond the calendar is an error that names the column."""
    manifest = written(tmp_path, pa.table({"image": ["a"], "meta_x": column}))
    with pytest.raises(ManifestError, match=r"column 'meta_x' .* has a cell that cannot be read"):
        list(manifest.read())


def test_settings_stand_in_place_of_cells(tmp_path: Path, expected: list[Job]) -> None:
    """A setting replaces a row's cell, axis or not."""
    found = jobs_of(written(tmp_path, PLAIN), {"octaves": 1, "seed": [1, 2]})
    assert [(job.row, job.params.octaves, job.params.seed) for job in found] == [
        (1, 1, 1),
        (1, 1, 2),
        (2, 1, 1),
        (2, 1, 2),
    ]
    assert not {job.id for job in found} & {job.id for job in expected}


def test_rows_are_numbered_across_batches(tmp_path: Path) -> None:
    """Rows count from 1 through row groups and batches."""
    table = pa.table({"image": [f"{number}.jpg" for number in range(10_000)]})
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=3_000)
    manifest = open_manifest(str(tmp_path / "m.parquet"))
    assert manifest.rows == 10_000
    assert all(row.cells == {"image": f"{row.number - 1}.jpg"} for row in manifest.read())
    assert [row.number for row in manifest.read()] == list(range(1, 10_001))


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    """The same file has the same digest wherever it is, another file another one."""
    (tmp_path / "else").mkdir()
    first, copy = written(tmp_path, PLAIN), written(tmp_path / "else", PLAIN)
    assert first.digest == copy.digest
    assert written(tmp_path, PLAIN.slice(1)).digest != first.digest


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["image", "octave"], "column 'octave' is not known; did you mean `octaves`?"),
        (["imag"], "column 'image' is missing"),
        (["image", "image"], "column 'image' stands there twice"),
        (["image", "steps", "steps"], "column 'steps' stands there twice"),
        (["image", "camera"], "A column of your own is named meta_"),
    ],
)
def test_wrong_columns_are_one_error(tmp_path: Path, names: list[str], said: str) -> None:
    """A column that is unknown, missing or repeated is named, with the nearest name, when the file is opened."""
    with pytest.raises(ManifestError, match=said.replace("?", r"\?")):
        written(tmp_path, pa.table([pa.array(["a"])] * len(names), names=names))


def test_all_wrong_columns_are_in_the_error(tmp_path: Path) -> None:
    """Several wrong columns are named together."""
    with pytest.raises(ManifestError, match=r"'stepsize'.*`step_size`.*'tilesize'.*`tile_size`.*'image' is missing"):
        written(tmp_path, pa.table({"stepsize": [1], "tilesize": [1]}))


@pytest.mark.parametrize("data", [b"", b"image\na.jpg\n", b"PAR1", b"PAR1" * 10])
def test_another_kind_of_file_is_refused(tmp_path: Path, data: bytes) -> None:
    """A file that is no Parquet is a ManifestError with its name."""
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(ManifestError, match=r"m\.csv"):
        open_manifest(str(tmp_path / "m.csv"))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """A Parquet file whose end is sound and whose rows are not is a ManifestError too."""
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"image": [f"{number}" for number in range(5_000)]}), path)
    data = bytearray(path.read_bytes())
    data[10 : len(data) // 2] = b"\xff" * (len(data) // 2 - 10)
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=r"m\.parquet"):
        list(open_manifest(str(path)).read())


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing manifest says how to make one."""
    with pytest.raises(NotFoundError, match=r"no manifest at '.*m\.parquet'; make one"):
        open_manifest(str(tmp_path / "m.parquet"))
