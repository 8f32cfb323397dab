"""Grids: cells to points, grid files and settings of the command line."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dreamjobs.cli.app import app
from dreamjobs.errors import ParamsError
from dreamjobs.grid import count, merge_settings, parse_grid, parse_setting, points

cells = st.dictionaries(
    st.sampled_from(["octaves", "steps", "objective", "seed", "net"]),
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=4),
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text draws up a table of characters
@given(cells)
def test_points_are_the_product_in_a_fixed_order(row: dict[str, Any]) -> None:
    """Nested loops over the cells in their order, the last innermost, give the same points."""
    expected: list[dict[str, Any]] = [{}]
    for name, value in row.items():
        choices = value if isinstance(value, list) else [value]
        expected = [{**point, name: choice} for point in expected for choice in choices]
    assert list(points(row)) == expected
    assert count(row) == len(expected)


def test_the_first_list_varies_slowest() -> None:
    """Two axes: all values of the second for the first value of the first, then the next."""
    found = [tuple(point.values()) for point in points({"a": [1, 2], "b": "x", "c": [3, 4]})]
    assert found == [(1, "x", 3), (1, "x", 4), (2, "x", 3), (2, "x", 4)]


def test_an_empty_list_has_no_points() -> None:
    """One empty axis makes the grid empty; no axis makes it one point."""
    assert list(points({"a": [1, 2], "b": []})) == []
    assert count({"a": [1, 2], "b": []}) == 0
    assert list(points({})) == [{}]


def test_points_are_lazy() -> None:
    """The first points of a grid of 10^12 come without the others."""
    row = {name: list(range(1000)) for name in "abcd"}
    assert [point["d"] for point in itertools.islice(points(row), 3)] == [0, 1, 2]
    assert count(row) == 10**12


@pytest.mark.parametrize(
    ("text", "mappings"),
    [
        ("octaves: [3, 4]\nobjective: mix8a:1,2", [{"octaves": [3, 4], "objective": "mix8a:1,2"}]),
        ("- {octaves: 3}\n- {steps: [5, 10]}", [{"octaves": 3}, {"steps": [5, 10]}]),
        ("{}", [{}]),
    ],
)
def test_a_grid_file_is_a_mapping_or_a_list_of_them(text: str, mappings: list[dict[str, Any]]) -> None:
    """Both forms of a grid file are read, a single mapping as a list of one."""
    assert parse_grid(text) == mappings


def test_a_grid_file_is_read_from_bytes() -> None:
    """The bytes of a file are taken in UTF-8, with its mark or without; other bytes are an error that names it."""
    for data in ("net: käfer".encode(), "net: käfer".encode("utf-8-sig"), "net: käfer".encode("utf-16")):
        assert parse_grid(data) == [{"net": "käfer"}]
    for data in (b"net: k\xe4fer", b"\x89PNG\r\n\x1a\n", bytes(range(256))):
        with pytest.raises(ParamsError, match=r"g\.yaml is not YAML"):
            parse_grid(data, "g.yaml")


def test_the_command_names_a_grid_file_that_is_no_text(tmp_path: Path) -> None:
    """`dreamjobs manifest --grid` with a file of other bytes is an input error, not a traceback."""
    grid = tmp_path / "g.yaml"
    grid.write_bytes(b"net: k\xe4fer")
    done = CliRunner().invoke(app, ["manifest", str(tmp_path), "-o", str(tmp_path / "m.parquet"), "--grid", str(grid)])
    assert isinstance(done.exception, ParamsError)
    assert f"{grid} is not YAML" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("octaves: [3", r"g\.yaml is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", r"g\.yaml is not YAML"),
        ("a: 2001-99-99", r"g\.yaml is not YAML"),
        ("", r"g\.yaml: item 1 is None; a grid is a mapping"),
        ("- octaves: 3\n- 4", r"item 2 is 4"),
        ("1: 2", r"item 1 is \{1: 2\}"),
        ("octaves", r"item 1 is 'octaves'"),
        ("[]", r"item 1 is \[\]"),
        ("- octaves: 3\n- steps: []", r"g\.yaml: item 2: steps: the list is empty; an axis has at least one value"),
    ],
)
def test_a_grid_file_that_is_none_says_why(text: str, says: str) -> None:
    """Text that is no YAML, or no mapping, is an error that names the file and the item."""
    with pytest.raises(ParamsError, match=says):
        parse_grid(text, "g.yaml")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("octaves=4", "octaves", 4),
        ("octaves=[3,4]", "octaves", [3, 4]),
        ("octave_scale=1.4", "octave_scale", 1.4),
        ("objective=inception4c:1,2", "objective", "inception4c:1,2"),
        ("objective=[a:1, 'b:1,2 + 0.5*c']", "objective", ["a:1", "b:1,2 + 0.5*c"]),
        ("objective=a - b", "objective", "a - b"),
        ("weights=s3://bucket/w.pth?x=1", "weights", "s3://bucket/w.pth?x=1"),
        (" steps =3", "steps", 3),
        ("max_side=", "max_side", None),
        ("max_side=null", "max_side", None),
    ],
)
def test_a_setting_is_a_name_and_yaml(text: str, name: str, value: object) -> None:
    """The value after the first `=` is YAML: a list is an axis, an expression is one text."""
    assert parse_setting(text) == (name, value)


@pytest.mark.parametrize("text", ["octaves", "=3", " =3", "", "octaves=[3", "a=2001-99-99", "a=0b_", "octaves=[]"])
def test_a_wrong_setting_is_quoted_back(text: str) -> None:
    """A setting without name, `=`, YAML or any value is an error that quotes it."""
    with pytest.raises(ParamsError) as error:
        parse_setting(text)
    assert f"--set {text!r}" in str(error.value)


def test_the_last_setting_of_a_name_wins() -> None:
    """Settings merge from left to right."""
    assert merge_settings(["a=1", "b=2", "a=[3]"]) == {"a": [3], "b": 2}
