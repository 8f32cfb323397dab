"""The page of the manifest's schema: what it says of each column is what becomes of a file of that type."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamjobs.errors import ManifestError
from dreamjobs.manifest import check, open_manifest
from dreamjobs.manifest.columns import SOURCE_NAMES
from dreamjobs.manifest.schema import FAMILIES, markdown_page, param_families, source_families
from dreamjobs.params import CELL_NAMES, DreamParams

ROOT = Path(__file__).parents[2]
NUMBERS = ("0", "0.25", "0.5", "1", "1.5", "4", "100", "512")
SAMPLES: dict[str, list[Any]] = {
    "STRING": [
        "default",
        "512",
        "true",
        "constant",
        "detail",
        "ascent",
        "mean_abs",
        "webp",
        "auto",
        "image",
        "hvass",
        "float32",
    ],
    "INT": [0, 1, 4, 100, 512],
    "FLOAT": [float(number) for number in NUMBERS],
    "DECIMAL": [Decimal(number) for number in NUMBERS],
    "BOOLEAN": [True],
}


def is_read(folder: Path, name: str, column: pa.Array) -> bool:
    """Whether of a manifest file with these cells some row passes every check but that of its net."""
    pq.write_table(pa.table({"image": pa.array(["a.jpg"] * len(column)), name: column}), folder / "m.parquet")
    try:
        check(open_manifest(str(folder / "m.parquet")), {}, lambda params: None)
    except ManifestError as error:
        return "cannot be used" in str(error) and not str(error).startswith(f"{len(column)} row")
    return True


def samples(family: str, kind: pa.DataType) -> pa.Array:
    """Those of the family that the type can hold."""
    most = 100 if kind in (pa.int8(), pa.uint8()) else 512
    return pa.array([value for value in SAMPLES[family] if isinstance(value, str) or value <= most], kind)


def test_the_page_is_generated() -> None:
    """docs/manifest-schema.md is what the model gives, to the letter; its second paragraph is the command for it."""
    assert (ROOT / "docs/manifest-schema.md").read_text() == markdown_page() + "\n"


def test_the_page_has_every_column() -> None:
    """Each column of the photograph, each parameter and `preset` is a line, with its default."""
    lines = [line for line in markdown_page().splitlines() if line.startswith("| `")]
    names = [line.split("`")[1] for line in lines]
    assert set(SOURCE_NAMES) | set(CELL_NAMES) <= set(names)
    (steps,) = [line for line in lines if line.startswith("| `steps`")]
    assert f"| `{DreamParams().steps}` |" in steps


@pytest.mark.parametrize("name", [*SOURCE_NAMES, *CELL_NAMES])
def test_types_are_read_as_the_page_says(name: str, tmp_path: Path) -> None:
    """Written to a Parquet file in a narrow and a wide type of each family, a column is read or refused as it says."""
    families = source_families(name) if name in SOURCE_NAMES else param_families(name)
    assert families
    for family, kinds in FAMILIES.items():
        read = {is_read(tmp_path, name, samples(family, kind)) for kind in (kinds[0], kinds[-1])}
        assert (True in read) == (family in families), (family, read)


@pytest.mark.parametrize("make", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2)])
def test_lists_are_read(make: Any, tmp_path: Path) -> None:
    """Plain, large and fixed-size lists are axes, of narrow types too."""
    for kind in (pa.int8(), pa.float32(), pa.decimal128(9, 2)):
        assert is_read(tmp_path, "octaves", pa.array([[2, 3]], make(kind)))
    assert not is_read(tmp_path, "octaves", pa.array([["2", "3"]], make(pa.string())))


def test_what_is_refused_of_ones_own_columns_is_refused(tmp_path: Path) -> None:
    """A type that the page calls refused ends the check; one that it carries does not."""
    page = markdown_page()
    for kind in (pa.time64("us"), pa.binary(), pa.struct([("a", pa.int64())])):
        assert f"| `{kind}` | refused: write it as text |" in page
        assert not is_read(tmp_path, "meta_x", pa.array([None], kind))
    assert "| `timestamp[ms]` | `timestamp[us]` |" in page
    assert is_read(tmp_path, "meta_x", pa.array([None], pa.timestamp("ms")))
