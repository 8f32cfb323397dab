"""Every command, from its arguments to its output and exit code."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from integration.photos import POISON, RED, Command, encoded, noise, pictures, put_photos, rows
from PIL import Image

from dreamjobs import lease
from dreamjobs.cli import main
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

SETTINGS = [f"--set={item}" for item in ("net=tiny", "objective=things", "octaves=2", "steps=2", "jitter=2")]

ADAM_BY_TILES = ["--set=fan_out_mpx=0.01", "--set=optimizer=adam"]


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs a command line in this process, in a folder of its own with three photographs."""
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 3)

    def call(*arguments: str) -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["dreamjobs", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ended(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    return call


def dreamed(cli: Cli, *options: str, url: str = "run") -> Ended:
    return cli("run", "m.parquet", url, "--inline", *SETTINGS, *options)


def test_manifest_run_status_verify(cli: Cli) -> None:
    """The commands of the main job, one after another, say what they did and end with 0."""
    made = cli("manifest", "photos", "-o", "m.parquet", "--set", "seed=[0,1]", "--set", "octave_scale=1.5")
    assert (made.code, made.out) == (0, "m.parquet: 3 rows from 3 photographs (0 other files passed over)\n")
    ran = dreamed(cli)
    assert ran.code == 0
    assert "6 to do: 6 new; 0 done before" in ran.err
    assert ran.out.startswith("6 done, 0 failed, 0 left, 0 done before; ")
    assert cli("status", "run") == Ended(0, "6 jobs: 6 done, 0 failed, 0 left\n", "")
    for arguments in (["run"], ["run", "m.parquet"]):
        found = cli("verify", *arguments)
        assert (found.code, found.out) == (0, "6 jobs in the manifest = 6 done + 0 failed + 0 left\nsound\n")
    again = dreamed(cli)
    assert again.code == 0
    assert again.out.startswith("0 done, 0 failed, 0 left, 6 done before; ")
    assert {row["octave_scale"] for row in rows("run")} == {1.5}


def test_failures_end_with_1(cli: Cli) -> None:
    """A run with failed jobs ends with 1, now and when it is repeated, unless told; status counts them by type."""
    Path("photos/1.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [])
    ran = dreamed(cli)
    assert ran.code == 1
    assert "failed: photos/1.png: ImageError: " in ran.err
    assert ran.out.startswith("2 done, 1 failed, 0 left, 0 done before; ")
    again = dreamed(cli)
    assert again.code == 1
    assert "1 failed before (--retry-failed tries them again)" in again.err
    assert [dreamed(cli, "--failures-ok", *options).code for options in ([], ["--retry-failed=all"])] == [0, 0]
    assert cli("status", "run").out == "3 jobs: 2 done, 1 failed, 0 left\n  1 x ImageError\n"
    assert cli("verify", "run").code == 0


@pytest.mark.parametrize(
    "option", [["--retry-failed"], ["--retry-failed", "StorageError,NotFoundError"], ["--retry-failed=all"]]
)
def test_failed_jobs_are_retried_on_request(cli: Cli, option: list[str]) -> None:
    """`--retry-failed` alone means all types, with a list those; mended, the run ends with 0."""
    build(["photos"], "m.parquet", [])
    os.rename("photos/1.png", "away.png")
    dreamed(cli)
    os.rename("away.png", "photos/1.png")
    assert dreamed(cli, "--retry-failed", "StorageError").code == 1
    again = dreamed(cli, *option)
    assert again.code == 0
    assert "1 to do: 1 failed before; 2 done before" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.parquet", "run"], "there is no manifest at 'none.parquet'"),
        (["run", "photos/0.png", "run"], "is no Parquet file"),
        (["run", "m.parquet", "run", "--set", "octave=3"], "did you mean `octaves`?"),
        (["run", "m.parquet", "run", "--set", "octaves"], "NAME=VALUE is needed"),
        (["run", "m.parquet", "run", "--set", "octaves=[3"], "is not YAML"),
        (["run", "m.parquet", "run", "--set", "net=googlenot"], "did you mean `googlenet`?"),
        (["run", "m.parquet", "run", "--set", "net=nowhere:make"], "nowhere"),
        (["run", "m.parquet", "run", "--set=net=tiny", "--set=objective=edgs"], "did you mean `edges`?"),
        (["run", "m.parquet", "run", "--shard", "3/2"], "--shard '3/2'"),
        (["run", "m.parquet", "run", "--actors", "3..2"], "--actors '3..2': N or MIN..MAX is needed"),
        (["run", "m.parquet", "run", "--actors", "0"], "--actors '0'"),
        (["run", "m.parquet", "run", "--limit", "0"], "--limit"),
        (["run", "m.parquet", "http://x/run"], "is not allowed"),
        (["run", "m.parquet"], "RUN"),
        (["status", "nowhere"], "holds no run"),
        (["verify", "nowhere"], "holds no run"),
        (["manifest", "nowhere", "-o", "x.parquet"], "there is no file or folder 'nowhere'"),
        (["manifest", "photos", "-o", "x.parquet", "--grid", "none.yaml"], "none.yaml"),
        (["manifest", "photos", "-o", "x.parquet", "--set", "steps=-1"], "steps: -1 is refused"),
        (["dream", "photos/none.png", "-o", "x.png"], "none.png"),
        (["dream", "photos/0.png", "-o", "x.txt"], "no format is known"),
        (["dream", "photos/0.png", "-o", "x.png", "--set", "steps=[1,2]"], "one value is needed"),
        (["run", "m.parquet", "run", *ADAM_BY_TILES], "optimizer: 'adam' is refused where fan_out_mpx is set"),
        (["plan", "m.parquet", *ADAM_BY_TILES], "optimizer: 'adam' is refused where fan_out_mpx is set"),
        (["reproduce", "photos/0.png", "-o", "x.png"], "carries no dreamjobs recipe"),
        (["layers", "googlenot"], "did you mean `googlenet`?"),
        (["gallery", "nowhere"], "nowhere"),
        (["demo", "--photos", "nowhere"], "nowhere"),
        (["nonsense"], "No such command"),
    ],
)
def test_bad_input_ends_with_2(cli: Cli, arguments: list[str], said: str) -> None:
    """What the person can mend is one message on standard error, exit code 2, and nothing is written."""
    build(["photos"], "m.parquet", [])
    ended = cli(*arguments)
    assert ended.code == 2
    assert said in ended.err
    assert ended.out == ""
    assert not Path("run/images").exists()
    assert not Path("x.parquet").exists()


def test_dream_refuses_what_tiles_cannot_follow(cli: Cli) -> None:
    """A picture that would be fanned out with a parameter that is not followed there is not made without it."""
    put_photos("large", 1, size=(160, 150))
    ended = cli("dream", "large/0.png", "-o", "x.png", *SETTINGS, *ADAM_BY_TILES)
    assert ended.code == 2
    assert "optimizer: 'adam' is refused where fan_out_mpx is set" in ended.err
    assert not Path("x.png").exists()


def logged(ended: Ended) -> list[dict[str, Any]]:
    """The objects of a JSON log: every line of standard error is one."""
    return [json.loads(line) for line in ended.err.splitlines()]


def test_a_log_in_json(cli: Cli) -> None:
    """`--log-format json` tells start, outlook, each job's end and the end, an object a line, and nothing in words."""
    Path("photos/1.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [])
    ran = dreamed(cli, "--log-format=json")
    events = logged(ran)
    assert (ran.code, ran.out) == (1, "")
    assert [event["event"] for event in events] == ["start", "outlook", "done", "failed", "done", "end"]
    assert {event["run"] for event in events} == {"run"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in events)
    start, outlook, done, failed, _, end = events
    assert (start["manifest"], start["settings"]["net"], start["shard"]) == ("m.parquet", "tiny", "1/1")
    assert (outlook["todo"], outlook["reasons"]) == (3, {"new": 3})
    row = next(row for row in rows("run") if row["image"] == "photos/0.png")
    assert [done[name] for name in ("level", "job", "image", "attempt", "output")] == [
        *("info", row["id"], "photos/0.png", 1, row["output"])
    ]
    assert [failed[name] for name in ("level", "image", "error_type")] == ["error", "photos/1.png", "ImageError"]
    assert (end["done"], end["failed"], end["left"]) == (2, 1, 0)


def test_a_log_in_json_tells_attempts(cli: Cli, ray_cluster: None) -> None:
    """Attempts that fail for a reason that may pass are told one by one, with the reason, and then the failure."""
    Path("photos/1.png").write_bytes(encoded(Image.new("RGB", (24, 20), RED)))
    build(["photos/1.png"], "m.parquet", [])
    settings = [f"--set={item}" for item in (f"net={POISON}", "objective=things", "octaves=1", "steps=1")]
    events = logged(cli("run", "m.parquet", "run", "--actors=1", "--log-format=json", *settings))
    tries = [(event["event"], event["attempt"], event["error_type"]) for event in events if "attempt" in event]
    lost = "WorkerLostError"
    assert tries == [("retried", 1, lost), ("retried", 2, lost), ("failed", 3, lost)]


def test_a_log_in_json_tells_errors(cli: Cli) -> None:
    """What ends a run before it starts is an object too, exit code 2."""
    ended = cli("run", "none.parquet", "run", "--inline", "--log-format=json", "--set=seed=2026-11-21")
    start, error = logged(ended)
    assert ended.code == 2
    assert start["settings"] == {"seed": "2026-11-21"}  # a date to YAML, for which JSON has no word
    assert (start["event"], error["event"], error["level"]) == ("start", "error", "error")
    assert "there is no manifest at 'none.parquet'" in error["error"]


def test_a_log_in_json_is_brief(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a run says how far it is, a line of it comes every 30 s."""
    from dreamjobs.cli import logs
    from dreamjobs.engine import Progress

    now = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    with logs.json_log("run") as log:
        for _ in range(200):  # 100 s
            now += 0.5
            log.watcher.on_progress(Progress(10, 1, 0, 2, 1, 480, now - 1000, {"fetch": 3}, 1))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["seconds"], line["queues"]) for line in lines] == [
        ("progress", seconds, {"fetch": 3}) for seconds in (30, 60, 90)
    ]


def test_progress_counts_what_is_dreamed_of_a_large_picture() -> None:
    """Before any is done, those that many actors dream together say how far they are, and so what time is left."""
    from dreamjobs.cli.progress import describe
    from dreamjobs.engine import Progress

    whole = Progress(3, 0, 0, 1, 1, 0, 60.0)
    assert (
        describe(whole)
        == "0 done, 0 failed, 3 left | 0.0 pictures/min, 0.00 megapixels/s | time left unknown | 1 actor"
    )
    tiled = describe(replace(whole, shares=(0.5, 0.25), actors=2))
    assert tiled.startswith("0 done, 0 failed, 3 left, 38% of 2 dreamed by tiles | ")
    assert tiled.endswith(" | 0:03:00 left | 2 actors")


def test_bad_rows_are_all_listed(cli: Cli) -> None:
    """A manifest with bad rows ends with 2 and lists them; no RUN appears."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"image": ["a", None, "c"], "net": ["tiny"] * 3, "objective": ["edges", "edges", "nose"]}
    pq.write_table(pa.table(columns | {"steps": [-1, 1, 1]}), "m.parquet")
    ended = cli("run", "m.parquet", "run", "--inline")
    assert ended.code == 2
    assert ended.err.startswith("dreamjobs: 3 row(s) of 'm.parquet' cannot be used; nothing was started:")
    for said in ("row 1: steps: -1 is refused", "row 2: image: None is refused", "row 3: "):
        assert said in ended.err
    assert not Path("run").exists()


def test_a_grid_file_and_settings(cli: Cli) -> None:
    """A grid's mappings give rows each, --set goes over them."""
    Path("grid.yaml").write_text("- {steps: [1, 2], seed: 1}\n- {overlap: 16}\n")
    made = cli("manifest", "photos/0.png", "-o", "m.parquet", "--grid", "grid.yaml", "--set", "seed=5")
    assert made.out == "m.parquet: 2 rows from 1 photographs (0 other files passed over)\n"
    assert (
        cli("run", "m.parquet", "run", "--inline", "--set=net=tiny", "--set=objective=edges", "--set=octaves=1").code
        == 0
    )
    assert sorted((row["steps"], row["seed"], row["overlap"]) for row in rows("run")) == [
        (1, 5, "exact"),
        (2, 5, "exact"),
        (10, 5, "16"),
    ]


def test_dream_makes_one_picture(cli: Cli) -> None:
    """`dream` writes one picture in the format of its name and prints where."""
    for out, kind in (("x.png", "PNG"), ("sub/x.jpg", "JPEG"), ("x.webp", "WEBP")):
        assert cli("dream", "photos/0.png", "-o", out, *SETTINGS) == Ended(0, out + "\n", "")
        with Image.open(out) as picture:
            assert (picture.format, picture.size) == (kind, (24, 20))
    with Image.open("x.png") as picture, Image.open("photos/0.png") as source:
        assert not np.array_equal(np.asarray(picture), np.asarray(source))


def test_reproduce_gives_the_same_bytes(cli: Cli) -> None:
    """A picture of a run, or of `dream`, is made again to the byte."""
    build(["photos"], "m.parquet", [])
    dreamed(cli)
    cli("dream", "photos/1.png", "-o", "x.jpg", *SETTINGS)
    for picture in (f"run/{next(iter(pictures('run')))}", "x.jpg"):
        ended = cli("reproduce", picture, "-o", "again")
        assert (ended.code, ended.out) == (0, "again\n  the same bytes as the picture\n")
        assert Path("again").read_bytes() == Path(picture).read_bytes()


def test_reproduce_tells_what_differs(cli: Cli) -> None:
    """With a parameter changed, the change is printed."""
    cli("dream", "photos/1.png", "-o", "x.png", *SETTINGS)
    ended = cli("reproduce", "x.png", "-o", "again.png", "--set", "steps=3")
    assert "  differs: params steps: 2 -> 3\n" in ended.out
    assert ended.out.endswith("  not the same bytes as the picture\n")


def test_layers_lists_what_can_be_dreamed(cli: Cli) -> None:
    """Names with channels, stride and receptive field, of the built-in nets and of torchvision's."""
    ended = cli("layers", "tiny")
    assert ended.code == 0
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0][:3] == ["layer", "channels", "stride"]
    assert ["edges", "8", "1", "3", "x", "3"] in lines
    assert ["parts", "12", "2", "5", "x", "5"] in lines
    assert any(line[:3] == ["things", "16", "4"] for line in lines)
    assert "features.3" in cli("layers", "squeezenet1_1", "--weights", "random").out


def test_layers_tells_what_sees_the_whole_picture(cli: Cli) -> None:
    """Behind a squeeze-excitation no receptive field is given; before it there is one."""
    ended = cli("layers", "mobilenet_v3_small", "--weights", "random")
    assert ended.code == 0
    seen = {
        name: rest.split(maxsplit=2)[2] for name, rest in (line.split(maxsplit=1) for line in ended.out.splitlines())
    }
    assert seen["features.0"] == "3 x 3"
    assert seen["features.1"] == seen["features.12"] == "the whole picture"


def test_shards_together_are_the_whole(cli: Cli) -> None:
    """1/2 and 2/2 share the rows out, into one RUN whose pictures are those of a run without shards."""
    put_photos("photos", 5)
    build(["photos"], "m.parquet", [{"seed": [0, 1]}])
    assert dreamed(cli, "--shard", "1/2").out.startswith("6 done, 0 failed, 0 left")
    assert cli("status", "run").out == "10 jobs: 6 done, 0 failed, 4 left\n"
    assert dreamed(cli, "--shard", "2/2").out.startswith("4 done, 0 failed, 0 left")
    assert cli("verify", "run").out.endswith("sound\n")
    dreamed(cli, url="whole")
    assert pictures("run") == pictures("whole")
    assert dreamed(cli).out.startswith("0 done, 0 failed, 0 left, 10 done before")


def test_limit_stops_early(cli: Cli) -> None:
    """`--limit` does so many jobs and ends with 0; the same command does the next."""
    build(["photos"], "m.parquet", [])
    for number in (1, 2):
        ended = dreamed(cli, "--limit", "1")
        assert (ended.code, ended.out.split(",")[0]) == (0, "1 done")
        assert f"1 to do: 1 new; {number - 1} done before; {3 - number} beyond --limit\n" in ended.err
        assert cli("status", "run").out == f"3 jobs: {number} done, 0 failed, {3 - number} left\n"
    assert "1 to do: 1 new; 2 done before\n" in dreamed(cli, "--limit", "1").err


def test_extend_dreams_only_what_is_new(cli: Cli) -> None:
    """Another grid on the same RUN is refused with what differs; with --extend only new points are dreamed."""
    build(["photos"], "m.parquet", [{"seed": [0, 1]}])
    dreamed(cli)
    build(["photos"], "m.parquet", [{"seed": [0, 1, 2]}])
    refused = dreamed(cli)
    assert refused.code == 2
    assert "was started with something else: the manifest" in refused.err
    assert "--extend" in refused.err
    before = pictures("run")
    extended = dreamed(cli, "--extend")
    assert extended.code == 0
    assert "3 to do: 3 parameters changed; 6 done before" in extended.err
    assert before.items() < pictures("run").items()
    assert cli("status", "run").out == "9 jobs: 9 done, 0 failed, 0 left\n"


def test_repeated_rows_run_once(cli: Cli) -> None:
    """A manifest that names a photograph three times asks for one picture, and is complete with it."""
    assert cli("manifest", "photos/0.png", "photos", "photos", "-o", "m.parquet").code == 0
    ended = dreamed(cli)
    assert (ended.code, ended.out.split(";")[0]) == (0, "3 done, 0 failed, 0 left, 0 done before")
    assert len(rows("run")) == 3
    repeats = "  and 4 that repeat others, done with them\n"
    assert cli("status", "run").out == "3 jobs: 3 done, 0 failed, 0 left\n" + repeats
    found = cli("verify", "run")
    assert (found.code, found.out) == (
        0,
        "3 jobs in the manifest = 3 done + 0 failed + 0 left\n" + repeats + "sound\n",
    )


def test_verify_finds_and_fixes(cli: Cli) -> None:
    """A broken run ends verify with 1 and its list; --fix mends it so that the next run completes it."""
    build(["photos"], "m.parquet", [])
    dreamed(cli)
    keys = sorted(pictures("run"))
    Path("run", keys[0]).unlink()
    Path("run", keys[1]).write_bytes(b"x")
    Path("run/images/stranger.txt").write_text("x")
    found = cli("verify", "run")
    assert found.code == 1
    assert f"  broken: {keys[0]}: it is not there\n" in found.out
    assert f"  broken: {keys[1]}: its bytes are not those that were written\n" in found.out
    assert "  no row owns: images/stranger.txt\n" in found.out
    assert "`dreamjobs verify RUN --fix` mends it" in found.out
    fixed = cli("verify", "run", "--fix")
    assert (fixed.code, "fixed: 3 things" in fixed.out) == (0, True)
    assert dreamed(cli).out.startswith("2 done, 0 failed, 0 left, 1 done before")
    assert cli("verify", "run").code == 0


def test_verify_tells_of_a_driver(cli: Cli) -> None:
    """While a driver is at work verify says so and does not hold its last pictures against it; --fix is refused."""
    build(["photos"], "m.parquet", [])
    dreamed(cli)
    Path("run/images/new.png").write_bytes(b"x")
    with lease.acquire(open_store("run"), "1-of-1"):
        found = cli("verify", "run")
        refused = cli("verify", "run", "--fix")
    assert found.code == 0
    assert re.search(r"a driver is at work \(process .*\): what it has just put is not counted\nsound\n", found.out)
    assert (refused.code, refused.out) == (2, "")
    assert "already being run by process" in refused.err
    assert cli("verify", "run").code == 1


class Links(HTMLParser):
    """Collects where a page's links and pictures point."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_gallery_links_to_every_picture(cli: Cli) -> None:
    """The page stands in RUN/gallery; its plain list has relative links that lead to files, strange names escaped."""
    name = "a <b> & 50% #1 'q' \".png"
    Path("photos", name).write_bytes(encoded(noise(9)))
    Path("photos/bad.png").write_bytes(b"<script>")
    build(["photos"], "m.parquet", [])
    dreamed(cli)
    ended = cli("gallery", "run")
    page = Path("run/gallery/index.html")
    assert (ended.code, ended.out) == (0, f"{page.resolve()}\n")
    page = page.with_name("plain.html")
    links = Links()
    links.feed(page.read_text())
    targets = {(page.parent / unquote(link)).resolve() for link in links.found}
    assert targets == {Path("run", key).resolve() for key in pictures("run")}
    assert len(targets) == 4
    assert not any(link.startswith(("/", "file:", "http")) for link in links.found)
    assert "bad.png" in page.read_text()
    assert "<script>" not in page.read_text()


def test_help_comes_without_heavy_imports(cli: Cli, tmp_path: Path) -> None:
    """`--help` of the program and of each command works and does not import torch or ray."""
    import subprocess

    code = (
        "import sys\nfrom dreamjobs.cli import main\nsys.argv = ['dreamjobs', *sys.argv[1:]]\ntry:\n    main()\n"
        "finally:\n    assert not {'torch', 'ray', 'boto3'} & set(sys.modules)\n"
    )
    top = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z]+) +[A-Z]", top.partition("Commands:")[2], re.MULTILINE)
    assert {"manifest", "run", "dream", "layers", "status", "verify", "reproduce", "demo", "gallery"} <= set(commands)
    for command in commands:
        shown = cli(command, "--help")
        assert shown.code == 0
        assert "Example" in shown.out


def test_the_program_runs_as_a_module(cli: Cli, tmp_path: Path) -> None:
    """`python -m dreamjobs` gives the exit codes of its commands to the shell."""
    for arguments, code in ((["layers", "tiny"], 0), (["status", "nowhere"], 2)):
        with Command(tmp_path, *arguments) as command:
            assert command.wait() == code


def test_the_demo_dreams_a_folder(cli: Cli, ray_cluster: None) -> None:
    """`demo --photos` runs manifest, two actors and gallery on one's own photographs; a second time it is all done."""
    first = cli("demo", "--photos", "photos", "demo")
    assert first.code == 0
    assert "6 done, 0 failed" in first.out
    (gallery,) = re.findall(r"gallery: +(.*)", first.out)
    links = Links()
    links.feed(Path(gallery).with_name("plain.html").read_text())
    targets = {(Path(gallery).parent / unquote(link)).resolve() for link in links.found}
    assert len(targets) == 6
    assert all(target.is_file() for target in targets)
    second = cli("demo", "--photos", "photos", "demo")
    assert "0 done, 0 failed, 6 done before" in second.out
