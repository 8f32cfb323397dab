"""Presets: the defaults of known programs, wherever parameters are taken from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamjobs import objectives
from dreamjobs.errors import ManifestError, ParamsError
from dreamjobs.jobs import Job
from dreamjobs.manifest import Expander, Known, Manifest, build, check, open_manifest, param_type
from dreamjobs.params import PARAM_NAMES, DreamParams, make_params
from dreamjobs.presets import PRESETS

NAMES = list(PRESETS)


def jobs_of(manifest: Manifest) -> list[Job]:
    known = Known(lambda net, weights: f"{net}|{weights}")
    return [job for row in manifest.read() for job in Expander(manifest.base, {}, known).jobs(row)]


def built(folder: Path, mapping: dict[str, Any]) -> Manifest:
    (folder / "a.png").open("a").close()
    build([str(folder / "a.png")], str(folder / "m.parquet"), [mapping], sizes=False)
    return open_manifest(str(folder / "m.parquet"))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_stands_for_its_values(name: str) -> None:
    """A preset's values are allowed, and it gives what they give when written out; the rest are our defaults."""
    params = make_params({"preset": name})
    assert params == make_params(PRESETS[name])
    assert params != DreamParams()
    written = params.model_dump()
    assert {key: written[key] for key in PRESETS[name]} == dict(PRESETS[name])
    assert all(written[key] == getattr(DreamParams(), key) for key in PARAM_NAMES if key not in PRESETS[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_presets_objective_is_an_expression(name: str) -> None:
    """What a preset makes larger parses, and names no file."""
    (objective,) = objectives.parse(str(PRESETS[name]["objective"]))
    assert objective.files == ()


def test_presets_are_not_to_be_written_to() -> None:
    """Nobody can change a preset for others, neither directly nor by what `make_params` gave."""
    with pytest.raises(TypeError):
        PRESETS["google2015"] = {}  # type: ignore[index]
    before = dict(PRESETS["google2015"])
    make_params({"preset": "google2015", "steps": 99})
    assert dict(PRESETS["google2015"]) == before


@pytest.mark.parametrize("order", [("preset", "steps", "net"), ("net", "steps", "preset")])
def test_a_given_value_wins(order: tuple[str, ...]) -> None:
    """Beside a preset, before it or after it, a given value counts, even where it is our default; null does not."""
    values = {"preset": "neural-dream", "steps": DreamParams().steps, "net": "tiny"}
    found = make_params({name: values[name] for name in order} | {"octaves": None})
    assert (found.steps, found.net) == (DreamParams().steps, "tiny")
    assert found.octaves == PRESETS["neural-dream"]["octaves"] != DreamParams().octaves
    assert found.optimizer == "adam"


@pytest.mark.parametrize("name", ["google2016", "", "Google2015", 5, True, ["google2015"], {"google2015": 1}])
def test_an_unknown_preset_brings_the_list(name: object) -> None:
    """A preset that is none, of whatever type, is refused with the names of all."""
    with pytest.raises(ParamsError) as error:
        make_params({"preset": name})
    assert str(error.value) == f"preset: {name!r} is refused; allowed is " + ", ".join(f"`{known}`" for known in NAMES)


def test_no_preset_is_no_preset() -> None:
    """Null stands for our own defaults."""
    assert make_params({"preset": None}) == DreamParams()


def test_a_preset_is_no_parameter() -> None:
    """A recipe and an id hold the values, not the name that they came by."""
    assert "preset" not in PARAM_NAMES
    assert "preset" not in make_params({"preset": "hvass"}).canonical()


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_presets_gives_the_jobs_of_their_values(tmp_path: Path, name: str) -> None:
    """In a manifest a preset's job has the id of the job whose values are written out."""
    (job,) = jobs_of(built(tmp_path, {"preset": name, "seed": 3}))
    (written,) = jobs_of(built(tmp_path, {**PRESETS[name], "seed": 3}))
    assert job.params == written.params == make_params({**PRESETS[name], "seed": 3})
    assert (job.id, job.look, job.weights_digest) == (written.id, written.look, written.weights_digest)


def test_presets_are_an_axis(tmp_path: Path) -> None:
    """A list of presets, null among them, is an axis like any other, written as text."""
    manifest = built(tmp_path, {"preset": [*NAMES, None], "steps": [2, None]})
    assert pq.read_schema(manifest.url).field("preset").type == pa.list_(param_type("preset")) == pa.list_(pa.string())
    jobs = jobs_of(manifest)
    points = [{"preset": preset, "steps": steps} for preset in [*NAMES, None] for steps in (2, None)]
    assert [job.params for job in jobs] == [make_params(point) for point in points]
    assert len({job.id for job in jobs}) == len(points)


def test_a_bad_preset_is_a_bad_row(tmp_path: Path) -> None:
    """Presets that are unknown or no text are listed with the rows that they stand in."""
    columns = {"image": ["a", "b", "c"], "preset": [["google2015"], ["hvass", "gogle"], [None]]}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    manifest = open_manifest(str(tmp_path / "m.parquet"))
    with pytest.raises(ManifestError, match=r"row 2: preset: 'gogle' is refused; allowed is `google2015`") as caught:
        check(manifest, {}, lambda params: None)
    assert "row 1" not in str(caught.value)
    assert "row 3" not in str(caught.value)
    pq.write_table(pa.table({"image": ["a"], "preset": [{"google2015": 1}]}), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=r"row 1: preset: \{'google2015': 1\} is refused"):
        check(open_manifest(str(tmp_path / "m.parquet")), {}, lambda params: None)


def test_each_presets_net_is_checked_once(tmp_path: Path) -> None:
    """Rows of a preset are checked with its net and objective, once, and with a given objective where one is given."""
    seen: list[tuple[str, str]] = []
    columns = {"image": ["a", "b", "c"], "preset": ["hvass"] * 3, "objective": [None, None, "conv2"]}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    check(open_manifest(str(tmp_path / "m.parquet")), {}, lambda params: seen.append((params.net, params.objective)))
    assert seen == [("googlenet", "inception4a"), ("googlenet", "conv2")]
