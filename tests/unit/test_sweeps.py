"""What a run's results tell: sheets of sweeps, SQL, live status; and which photographs a manifest takes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dreamjobs import images, ledger, results
from dreamjobs.cli import main, watching
from dreamjobs.engine import RunOptions, run
from dreamjobs.errors import InputError, NotFoundError
from dreamjobs.jobs import Keys
from dreamjobs.manifest import Built, Selection, build, parse_condition
from dreamjobs.manifest.select import spread
from dreamjobs.reports import query
from dreamjobs.reports.axes import Asked, arrange, show
from dreamjobs.reports.live import Look, Monitor, summarize
from dreamjobs.reports.sweep import animate, draw, find
from dreamjobs.storage import LocalStore, ObjectInfo

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {"net": "tiny", "steps": 1, "jitter": 0}
GRID: dict[str, Any] = {"objective": ["edges", "parts", "things"], "octaves": [1, 2], "seed": [0, 5]}
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def put_photos(folder: Path, *names: str) -> None:
    (folder / "photos").mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / name)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A run over two photographs and a grid of three parameters, and one photograph that is none."""
    place = tmp_path_factory.mktemp("swept")
    put_photos(place, "cat.png", "dog.png")
    (place / "photos" / "text.png").write_bytes(b"text")
    build([str(place / "photos")], str(place / "m.parquet"), [GRID])
    run(str(place / "m.parquet"), str(place / "run"), TINY, RunOptions(inline=True))
    return LocalStore(str(place / "run"))


@pytest.fixture
def store(swept: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """The same run; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    return swept


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Gives a command line in this process; returns its exit code, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dreamjobs", *arguments])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def row(**values: Any) -> dict[str, Any]:
    """A row of the results."""
    given = {"id": "1", "row": 1, "image": "a.png", "status": "done", "finished": NOW, "objective": "things"}
    return dict.fromkeys(results.SCHEMA.names) | {"octaves": 4, "octave_scale": 1.4} | given | values


# Which rows a sheet shows


def test_what_varies_most_goes_across_and_next_down(store: LocalStore) -> None:
    """Without axes the sheet is over the two parameters that vary most, of the first photograph."""
    found = find(store, Asked())
    assert (found.across.name, found.down.name) == ("objective", "octaves")
    assert found.image.endswith("photos/cat.png")
    assert [[cell["objective"] for cell in line if cell] for line in found.cells] == [["edges", "parts", "things"]] * 2


def test_what_else_varies_is_held_at_its_default(store: LocalStore) -> None:
    """Of a third parameter the default is shown, and it is told which others there are."""
    found = find(store, Asked(rows="objective", columns="octaves"))
    assert [(item.name, item.value, item.others) for item in found.held] == [("seed", 0, (5,))]
    assert found.title == "cat.png, objective down, octaves across, seed 0"


def test_where_there_is_no_default_the_first_value_is_held() -> None:
    """Numbers are in order of size, so the least is shown."""
    rows = [row(id=str(octaves), octaves=octaves, steps=1) for octaves in (10, 9)]
    rows += [row(id=f"{octaves}x", octaves=octaves, steps=2) for octaves in (10, 9)]
    assert [item.value for item in arrange(rows, Asked(rows="steps")).held] == [9]


@pytest.mark.parametrize(("where", "seeds"), [({"seed": 5}, {5}), ({"seed": 5.0}, {5}), ({"seed": [0, 5]}, {0})])
def test_a_person_may_hold_a_value(store: LocalStore, where: dict[str, Any], seeds: set[int]) -> None:
    """--where takes one value, as text or number, or leaves several to choose from."""
    found = find(store, Asked(rows="objective", where=where))
    assert {cell["seed"] for line in found.cells for cell in line if cell} == seeds


def test_where_may_shorten_an_axis(store: LocalStore) -> None:
    """A list of values of an axis is that axis."""
    found = find(store, Asked(columns="objective", where={"objective": ["edges", "things"]}))
    assert found.across.values == ("edges", "things")
    assert len(found.cells) == 1


def test_photographs_may_be_an_axis(store: LocalStore) -> None:
    """`image` as an axis shows each photograph, labelled by its file."""
    found = find(store, Asked(rows="image", columns="octaves"))
    assert found.down.labels == ["cat.png", "dog.png", "text.png"]
    assert [cell["status"] for cell in found.cells[2] if cell] == ["failed", "failed"]


@pytest.mark.parametrize("name", ["dog.png", "dog"])
def test_a_photograph_is_named_by_its_file(store: LocalStore, name: str) -> None:
    """The file's name is enough, with or without its ending."""
    assert find(store, Asked(image=name)).image.endswith("photos/dog.png")


def test_a_name_of_two_photographs_is_refused() -> None:
    """Files of one name in two folders are told apart by their folders only."""
    rows = [row(image="a/cat.png"), row(id="2", image="b/cat.png")]
    with pytest.raises(InputError, match=r"2 photographs: a/cat\.png, b/cat\.png"):
        arrange(rows, Asked(image="cat.png"))
    assert arrange(rows, Asked(image="b/cat.png")).image == "b/cat.png"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            Asked(rows="objectiv"),
            r"--rows 'objectiv' is not known; did you mean `objective`\?\n  What varies: objective",
        ),
        (Asked(columns="octave"), "--cols 'octave' is not known"),
        (Asked(where={"sed": 1}), "--where 'sed' is not known"),
        (Asked(where={"seed": 7}), "--where seed=7: no result has it; there are 0, 5"),
        (Asked(image="cat.jpg"), r"did you mean `cat.png`\?\n  There are .*cat.png, .*dog.png"),
        (Asked(rows="seed", columns="seed"), "both 'seed'"),
        (Asked(rows="image", image="cat.png"), "--image names one photograph"),
        (Asked(columns="seed", moving=True), "an animation goes through --rows"),
    ],
)
def test_what_cannot_be_shown_is_told(store: LocalStore, asked: Asked, said: str) -> None:
    """An error names what there is."""
    with pytest.raises(InputError, match=said):
        find(store, asked)


def test_no_results_are_told() -> None:
    """Before the first picture there is nothing to show."""
    with pytest.raises(InputError, match="there are no results yet"):
        arrange([], Asked())


def test_the_latest_of_two_pictures_is_shown() -> None:
    """Rows that differ in nothing that is an axis, with other weights perhaps, are one cell: the latest."""
    rows = [row(id="new", finished=NOW), row(id="old", finished=NOW - timedelta(1))]
    assert arrange(rows, Asked()).cells[0][0] == rows[0]


def test_columns_of_ones_own_may_be_axes() -> None:
    """A `meta_*` column is an axis, whatever it holds."""
    rows = [row(id="1", meta_tags=["a", "b"]), row(id="2", meta_tags=["c"])]
    found = arrange(rows, Asked(columns="meta_tags"))
    assert found.across.labels == ["meta_tags ['a', 'b']", "meta_tags ['c']"]


@pytest.mark.parametrize(("value", "text"), [(None, "none"), (True, "true"), (0.5, "0.5"), (3, "3"), ("a b", "a b")])
def test_values_are_shown_as_one_writes_them(value: Any, text: str) -> None:
    """Labels read as after --set."""
    assert show(value) == text


# Their pictures


def test_a_sheet_is_a_picture(store: LocalStore) -> None:
    """The sheet is a PNG with each picture in its cell."""
    made = draw(store, find(store, Asked(rows="octaves", columns="objective")), side=320)
    assert [[cell.picture.shape for cell in line if cell.picture is not None] for line in made.cells] == [
        [(20, 24, 3)] * 3
    ] * 2
    assert images.decode(made.png()).format == "png"


def test_the_original_stands_beside_or_above(store: LocalStore) -> None:
    """The photograph is a first column of a sheet, and a first row where photographs or nothing go across."""
    both = draw(store, find(store, Asked(rows="octaves", columns="objective")), side=320, original=True)
    assert both.column_labels == ["photograph", "edges", "parts", "things"]
    strip = draw(store, find(store, Asked(rows="objective")), side=320, original=True)
    assert strip.row_labels == ["photograph", "edges", "parts", "things"]
    several = draw(store, find(store, Asked(rows="octaves", columns="image")), side=320, original=True)
    assert several.row_labels == ["photograph", "octaves 1", "octaves 2"]
    with open(os.path.join(os.path.dirname(store.root), "photos/dog.png"), "rb") as file:
        np.testing.assert_array_equal(several.cells[0][1].picture, images.decode(file.read()).pixels)
    assert several.cells[0][2].note == "ImageError"


def test_what_is_missing_is_said_in_its_cell(store: LocalStore) -> None:
    """A failed job, a picture that is gone and one that was never asked for are empty cells with a word."""
    found = find(store, Asked(rows="image", columns="objective"))
    gone = replace(found, cells=(({**found.cells[0][0], "output": "images/none.png"}, None), found.cells[2][:1]))  # type: ignore[dict-item]
    made = draw(store, gone, side=320)
    assert [[cell.note for cell in line] for line in made.cells] == [["NotFoundError", "not there"], ["ImageError"]]


@pytest.mark.parametrize("columns", [None, "octaves"])
def test_an_animation_has_a_frame_a_row(store: LocalStore, columns: str | None) -> None:
    """Each value of --rows is a frame, with the columns side by side; an empty one too."""
    made = draw(store, find(store, Asked(rows="image", columns=columns, moving=True)), side=320)
    animate(made, "moving.webp", 4.0)
    with Image.open("moving.webp") as file:
        assert (file.format, getattr(file, "n_frames", 1)) == ("WEBP", 3)


def test_the_sheet_command_says_what_it_shows(cli: Cli, store: LocalStore) -> None:
    """The command names the sheet, what is held and what is missing."""
    code, out, _ = cli("sheet", store.root, "-o", "s.png", "--rows", "objective", "--image", "text", "--side", "64")
    assert code == 0
    assert out == (
        "s.png: text.png, objective down, octaves 1, seed 0\n"
        "  octaves varies too: held at 1; --where octaves=VALUE takes 2\n"
        "  seed varies too: held at 0; --where seed=VALUE takes 5\n"
        "  3 of 3 cells are empty: failed, or not there\n"
    )
    assert Path("s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "s.jpg"], "a sheet is a .png"),
        (["-o", "s.png", "--where", "seed"], "--where 'seed': NAME=VALUE is needed"),
        (["-o", "s.png", "--rows", "nothing"], "What varies: objective (edges, parts, things); octaves (1, 2)"),
    ],
)
def test_a_wrong_sheet_command_ends_with_2(cli: Cli, store: LocalStore, options: list[str], said: str) -> None:
    """What is wrong is told, and nothing is written."""
    code, _, err = cli("sheet", store.root, *options)
    assert code == 2
    assert said in err
    assert os.listdir() == []


# SQL


def test_sql_sees_the_current_row_of_each_job(cli: Cli, store: LocalStore) -> None:
    """The table `results` has a row a job."""
    sql = "SELECT status, count(*) AS jobs, 1.5::DOUBLE AS x, NULL AS y FROM results GROUP BY ALL ORDER BY jobs"
    code, out, _ = cli("results", store.root, "--sql", sql)
    assert (code, out) == (0, "status  jobs    x  y\nfailed    12  1.5\ndone      24  1.5\n")


def test_answers_as_csv_and_json(cli: Cli, store: LocalStore) -> None:
    """Both formats hold the same; times are ISO 8601, lists stay lists."""
    sql = "SELECT image, row, objective_curve, finished, sum(row) OVER () AS total FROM results ORDER BY id LIMIT 2"
    data = json.loads(cli("results", store.root, "--sql", sql, "--format", "json")[1])
    lines = list(csv.DictReader(io.StringIO(cli("results", store.root, "--sql", sql, "--format", "csv")[1])))
    assert [item["image"] for item in data] == [line["image"] for line in lines]
    assert [item["row"] for item in data] == [int(line["row"]) for line in lines]
    assert {item["total"] for item in data} == {12 * (1 + 2 + 3)}
    assert [item["objective_curve"] or "" for item in data] == [
        json.loads(line["objective_curve"] or '""') for line in lines
    ]
    assert datetime.fromisoformat(data[0]["finished"]).tzinfo is not None


def test_without_sql_everything_can_be_printed(cli: Cli, store: LocalStore) -> None:
    """csv and json without SQL are all rows and columns, and need no DuckDB."""
    data = json.loads(cli("results", store.root, "--format", "json")[1])
    assert len(data) == 36
    assert set(results.SCHEMA.names) <= set(data[0])


def test_the_summary_tells_what_columns_hold(cli: Cli, store: LocalStore) -> None:
    """Without anything: rows, the columns that vary with their values, those that do not, and the first rows."""
    code, out, _ = cli("results", store.root)
    assert code == 0
    assert out.startswith("36 rows: 24 done, 12 failed\n")
    assert re.search(r"^octaves +int64 +36  1, 2$", out, re.MULTILINE)
    assert "net tiny;" in out.partition("the same in all: ")[2]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT nothing FROM results",
        "SELECT * FROM 'FILE'",
        "SELECT * FROM read_csv('FILE')",
        "SELECT * FROM read_text('FILE')",
        "SELECT * FROM glob('*')",
        "COPY results TO 'out.csv'",
        "ATTACH 'out.db'",
        "EXPORT DATABASE 'out'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET temp_directory = 'out'",
        "SELECT * FROM table",
    ],
)
def test_sql_touches_no_file(cli: Cli, store: LocalStore, sql: str) -> None:
    """What DuckDB does not take, or may not do, is told without a traceback; no file is read or written."""
    Path("secret.csv").write_text("a\n1\n")
    code, out, err = cli("results", store.root, "--sql", sql.replace("FILE", "secret.csv"))
    assert (code, out) == (2, "")
    assert err.startswith("dreamjobs: --sql: ")
    assert os.listdir() == ["secret.csv"]


def test_without_duckdb_it_is_told_how_to_get_it(cli: Cli, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is named with the command that installs it."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    code, _, err = cli("results", store.root, "--sql", "SELECT 1")
    assert code == 2
    assert 'pip install "dreamjobs[sql]"' in err


def test_the_queries_of_the_documents_work(store: LocalStore) -> None:
    """Every query in docs/queries.md is answered."""
    queries = re.findall(r"^\$ .*? --sql \"(.*?)\"", (ROOT / "docs/queries.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(queries) >= 5
    for sql in queries:
        assert query.ask(query.read(store), sql).rows


# Live status


def test_status_as_json_knows_everything(cli: Cli, store: LocalStore) -> None:
    """Counts, failures by type, rate, time left, nodes and the slowest jobs, as one object."""
    code, out, _ = cli("status", store.root, "--json")
    data = json.loads(out)
    assert code == 0
    counts = {"jobs": 36, "done": 24, "failed": 12, "left": 0, "errors": {"ImageError": 12}, "other": 0, "repeats": 0}
    assert counts.items() <= data.items()
    assert data["eta_s"] == 0
    assert data["rate_per_min"] > 0
    assert [node["done"] for node in data["nodes"]] == [24]
    (actor,) = data["actors"]
    assert (actor["actor"], actor["done"]) == (f"{socket.gethostname()}:{os.getpid()}", 24)
    assert actor["last_finished"] <= data["last_finished"]
    assert len(data["slowest"]) == 5


def test_watching_ends_when_nothing_is_left(cli: Cli, store: LocalStore) -> None:
    """A finished run is one line."""
    code, out, _ = cli("status", store.root, "--watch")
    assert (code, out) == (0, "36 jobs: 24 done, 12 failed, 0 left | 12 x ImageError | nothing left\n")


def test_watching_looks_again(store: LocalStore, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Away from a terminal each change is a line, until nothing is left."""
    look = Monitor(store).look()
    left = [replace(look, status=replace(look.status, left=number), eta_s=60.0 * number) for number in (2, 2, 1, 0)]
    pauses: list[float] = []
    monkeypatch.setattr(watching.time, "sleep", pauses.append)
    watching.watch_run(_Looks(left), 3.0)  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" | ")[2] for line in lines] == ["0:02:00 left", "0:01:00 left", "nothing left"]
    assert pauses == [3.0] * 3


class _Looks:
    """A monitor that has seen it all."""

    def __init__(self, looks: list[Look]) -> None:
        self._looks = iter(looks)

    def look(self) -> Look:
        return next(self._looks)


def test_ctrl_c_ends_watching_quietly(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while it waits is how a person ends it."""
    look = Monitor(store).look()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", interrupt)
    watching.watch_run(_Looks([replace(look, status=replace(look.status, left=1))]), 1.0)  # type: ignore[arg-type]


def test_a_screen_shows_nodes_failures_and_slow_jobs(store: LocalStore) -> None:
    """The live screen holds what the line does not."""
    from rich.console import Console

    console = Console(width=120, file=io.StringIO())
    console.print(watching.screen_of(Monitor(store).look()))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("36 jobs: 24 done", "failed with", "ImageError", f":{os.getpid()}", "0:0", "slowest jobs", "cat.png"):
        assert text in shown


class Counting(LocalStore):
    """A local store that counts what is asked of it."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.lists: list[str] = []
        self.gets: list[str] = []

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.lists.append(prefix)
        return super().list(prefix)

    def get(self, key: str) -> bytes:
        self.gets.append(key)
        return super().get(key)


def test_looking_again_reads_new_parts_only(store: LocalStore, tmp_path: Path) -> None:
    """A second look lists the parts and reads nothing; a part that has come is read, one that went is forgotten."""
    place = Counting(str(tmp_path / "run"))
    for info in store.list():
        if not info.key.startswith("images/"):
            place.put(info.key, store.get(info.key))
    monitor = Monitor(place)
    first = monitor.look()
    place.lists.clear()
    place.gets.clear()
    assert monitor.look().status == first.status
    assert (place.lists, place.gets) == ([Keys.RESULTS], [])
    (part,) = (info.key for info in place.list(Keys.RESULTS))
    place.put("results/merged.parquet", place.get(part))
    place.delete(part)
    place.lists.clear()
    assert monitor.look().status == first.status
    assert place.lists == [Keys.RESULTS, "results/merged.parquet"]


def test_an_extended_run_is_counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a run is asked for more, the next look knows."""
    monkeypatch.chdir(tmp_path)
    put_photos(tmp_path, "a.png", "b.png")
    build(["photos/a.png"], "m.parquet", [{"objective": "edges", "octaves": 1}])
    run("m.parquet", "run", TINY, RunOptions(inline=True))
    monitor = Monitor(LocalStore(str(tmp_path / "run")))
    assert monitor.look().status.jobs == 1
    build(["photos"], "m.parquet", [{"objective": "edges", "octaves": 1}])
    run("m.parquet", "run", TINY, RunOptions(inline=True, extend=True, limit=1))
    found = monitor.look().status
    assert (found.jobs, found.done, found.left) == (2, 2, 0)
    assert found == ledger.status(LocalStore(str(tmp_path / "run")))


def test_nothing_to_look_at_is_told(tmp_path: Path) -> None:
    """A folder without a run has no status."""
    with pytest.raises(NotFoundError, match="holds no run"):
        Monitor(LocalStore(str(tmp_path))).look()


def ended(seconds_ago: float, **values: Any) -> dict[str, Any]:
    """A done row that took ten seconds."""
    stages = {"fetch_s": 0.0, "decode_s": 0.0, "dream_s": 10.0, "encode_s": 0.0, "put_s": 0.0}
    given = {"id": str(seconds_ago), "node": "n1", "device": "cpu", "output": "x"} | stages
    return row(finished=NOW - timedelta(seconds=seconds_ago), **(given | values))


def looked(rows: list[dict[str, Any]], left: int = 12) -> Look:
    return summarize(
        ledger.Status(jobs=len(rows) + left, done=len(rows), failed=0, left=left, errors={}, other=0), rows, NOW
    )


def test_the_rate_is_of_the_last_minutes() -> None:
    """Six jobs in a minute are six a minute, whatever was long before; and so the time left follows."""
    found = looked([ended(at) for at in (0, 10, 20, 30, 40, 50)] + [ended(at) for at in (4000, 5000)])
    assert found.rate_per_min == pytest.approx(6.0)
    assert found.eta_s == pytest.approx(120.0)


def test_slow_jobs_have_a_rate_too() -> None:
    """Where few jobs ended in five minutes the last hour counts."""
    found = looked([ended(1190.0), ended(590.0)], left=1)
    assert found.rate_per_min == pytest.approx(2 / 20)
    assert found.eta_s == pytest.approx(600.0)


def test_a_run_that_stands_has_no_rate() -> None:
    """Where nothing ended for an hour the time left is not known; with nothing left it is 0."""
    assert (looked([ended(7200.0)]).rate_per_min, looked([ended(7200.0)]).eta_s) == (None, None)
    assert looked([ended(7200.0)], left=0).eta_s == 0.0
    assert looked([]).eta_s is None


def test_nodes_and_slow_jobs_are_told_apart() -> None:
    """Pictures are counted by node and device, and the slowest come first."""
    rows = [ended(0), ended(1, node="n2"), ended(2), ended(3, dream_s=40.0), ended(4, status="failed", node=None)]
    found = looked(rows)
    assert [(node.node, node.done, node.mean_s) for node in found.nodes] == [("n1", 3, 20.0), ("n2", 1, 10.0)]
    assert [item.seconds for item in found.slowest] == [40.0, 10.0, 10.0, 10.0]
    assert sum(node.rate_per_min or 0 for node in found.nodes) < (found.rate_per_min or 0)


def test_actors_are_told_apart() -> None:
    """Pictures, speed and the last sight of each process that dreams; rows that name none count for no actor."""
    big = {"width": 2000, "height": 1000, "frames": 1}
    rows = [
        ended(0, actor="n1:1", **big),
        ended(30, actor="n1:2", **big | {"frames": 3}),
        ended(60, actor="n1:1", **big, dream_s=30.0),
        ended(9000, actor="n2:1", width=None),
        ended(9000.5, actor=None, **big),
    ]
    found = {actor.actor: actor for actor in looked(rows).actors}
    assert list(found) == ["n1:1", "n1:2", "n2:1"]
    assert [(actor.done, actor.mean_s) for actor in found.values()] == [(2, 20.0), (1, 10.0), (1, 10.0)]
    assert [actor.megapixels_per_s for actor in found.values()] == pytest.approx([4 / 40, 6 / 10, 0])
    assert [(NOW - actor.last_finished).total_seconds() for actor in found.values()] == [0, 30, 9000]
    assert [actor.rate_per_min for actor in found.values()] == [pytest.approx(2 / 1.5), pytest.approx(1 / 1.5), None]


def test_a_picture_of_many_actors_is_nobodys() -> None:
    """What was fanned out counts for the run, on several nodes, and for no actor."""
    from rich.console import Console

    look = looked([ended(0, node="", actor=""), ended(1, actor="n1:1")])
    assert [actor.done for actor in look.actors] == [1]
    console = Console(width=120, file=io.StringIO())
    console.print(watching.screen_of(look))
    assert "several" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_screen_has_room_for_so_many_actors() -> None:
    """Of hundreds of actors the busiest are shown, and how many more there are."""
    from rich.console import Console

    console = Console(width=120, file=io.StringIO())
    console.print(watching.screen_of(looked([ended(at, actor=f"n:{at}") for at in range(100)])))
    assert "and 84 more (--json)" in console.file.getvalue()  # type: ignore[attr-defined]


# Which photographs a manifest takes


def holds(text: str, **cells: Any) -> bool:
    return parse_condition(text).holds(cells)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("width >= 1000", True),
        ("width<1_000", False),
        ("width = 1.5e3 and height == 900", True),
        ('image like "%/2024/%"', True),
        ("image like '%2024%' and width != 1500", False),
        ('image not like "%.png"', True),
        ('image LIKE "a/2024/_.jpg" AND size_bytes > 10', True),
        ('image = "a/2024/b.jpg"', True),
        ('image like "%.JPG"', False),
        ('image like "a.2024%"', False),
        ('mtime >= "2024-05-01"', True),
        ('mtime > "2024-05-01T14:00+02:00"', False),
        ("mtime < 1714564800000000001", True),
        ('etag != "x"', False),
    ],
)
def test_conditions_hold_or_not(text: str, expected: bool) -> None:
    """Numbers, text, patterns and dates are compared; what is not known satisfies nothing."""
    cells = {"image": "a/2024/b.jpg", "width": 1500, "height": 900, "size_bytes": 11, "etag": None}
    assert holds(text, **cells, mtime=int(NOW.timestamp()) * 10**9) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a column is expected here"),
        ("widht > 3", "column 'widht' is not known; did you mean `width`?\n  widht > 3\n  ^"),
        ("width", "is expected here\n  width\n       ^"),
        ("width > '3'", "width is a whole number, compared with a number such as 1000\n  width > '3'\n          ^"),
        ("width > height", "width is a whole number"),
        ("image = 3", "image is text, compared with text in quotes"),
        ("image = cat", "image is text"),
        ("width like 3", "`like` compares text; width is a number"),
        ('mtime > "yesterday"', "mtime is compared with a date"),
        ("width > 3 or width < 2", "comparisons are joined by `and`"),
        ("width > 3 and", "a column is expected here"),
        ("width > __import__('os')", "width is a whole number"),
        ("width > 3x", "width is a whole number"),
    ],
)
def test_a_wrong_condition_is_pointed_at(text: str, said: str) -> None:
    """What is wrong is told with a caret under its place; nothing is evaluated."""
    with pytest.raises(InputError) as caught:
        parse_condition(text)
    assert said in str(caught.value)


@given(st.integers(0, 400), st.integers(1, 60), st.integers(0, 5))
def test_a_sample_is_spread(number: int, count: int, seed: int) -> None:
    """So many of the items, in order, the same for the same seed, and none of four equal parts much favoured."""
    chosen = list(spread(range(number), count, seed, str))
    assert len(chosen) == min(number, count)
    assert chosen == sorted(set(chosen))
    assert chosen == list(spread(range(number), count, seed, str))
    for part in range(4):
        share = [item for item in chosen if part * number / 4 <= item < (part + 1) * number / 4]
        assert abs(len(share) - len(chosen) / 4) <= 3


def test_another_seed_is_another_sample() -> None:
    """The seed decides."""
    assert list(spread(range(1000), 20, 0, str)) != list(spread(range(1000), 20, 1, str))


def chosen(**ways: Any) -> tuple[Built, list[str]]:
    condition = parse_condition(ways.pop("where")) if "where" in ways else Selection().condition
    selection = Selection(condition, ways.pop("sample", None), ways.pop("seed", 0))
    built = build(["photos"], "m.parquet", [], selection=selection, **ways)
    return built, [os.path.basename(name) for name in pq.read_table("m.parquet")["image"].to_pylist()]


def test_a_manifest_of_a_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Condition and sample choose among the photographs; how many were left out is known."""
    monkeypatch.chdir(tmp_path)
    put_photos(tmp_path, *(f"{number}.png" for number in range(9)))
    Image.new("RGB", (50, 10)).save("photos/wide.png")
    (tmp_path / "photos/text.png").write_bytes(b"text")
    built, names = chosen(where="width > 24 and height <= 10")
    assert (built, names) == (Built(1, 1, 0, left_out=10), ["wide.png"])
    assert chosen(where='image like "%.png" and width < 30')[1] == [f"{number}.png" for number in range(9)]
    built, names = chosen(sample=4)
    assert (len(names), built.left_out) == (4, 7)
    assert chosen(sample=4)[1] == names
    assert chosen(sample=100)[0].left_out == 0
    assert len(chosen(where="height = 20", sample=3, seed=1)[1]) == 3
    with pytest.raises(NotFoundError, match="none of the 11 photographs in photos satisfies --where"):
        chosen(where="width > 1000")
    with pytest.raises(InputError, match="not read with --no-sizes"):
        chosen(where="width > 10", sizes=False)


def test_headers_of_what_is_left_out_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition on names alone, and a sample, come before any file is opened."""
    monkeypatch.chdir(tmp_path)
    put_photos(tmp_path, "a.png", "b.png", "c.png")
    opened: list[str] = []
    read = LocalStore.get_range
    monkeypatch.setattr(
        LocalStore, "get_range", lambda self, key, *place: opened.append(key) or read(self, key, *place)
    )
    chosen(where='image like "%b.png"')
    chosen(sample=1)
    assert len(opened) == 2


def test_the_manifest_command_takes_a_selection(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--sample and --where choose, and it is told how many were left out."""
    monkeypatch.chdir(tmp_path)
    put_photos(tmp_path, "a.png", "b.png", "c.png")
    code, out, err = cli("manifest", "photos", "-o", "m.parquet", "--sample", "1", "--where", "width >= 24")
    assert (code, err) == (0, "2 of 3 photographs are left out\n")
    assert out == "m.parquet: 1 rows from 1 photographs (0 other files passed over)\n"
    code, _, err = cli("manifest", "photos", "-o", "n.parquet", "--where", "width >= ")
    assert code == 2
    assert "^" in err
    assert not os.path.exists("n.parquet")
