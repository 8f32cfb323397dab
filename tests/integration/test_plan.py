"""`dreamjobs plan`: what it counts and says, where its rates come from, and that it spends nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.photos import put_photos, rows

from dreamjobs.cli import main
from dreamjobs.estimate import calibrate, plan
from dreamjobs.manifest import build

TINY = ["--set=net=tiny", "--set=objective=[things,parts]", "--set=octaves=2", "--set=steps=3", "--set=jitter=2"]
Cli = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs a command line in this process, in a folder with three photographs, a manifest and a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(calibrate, "_BUDGET_S", 0.0)
    put_photos("photos", 3)
    build(["photos"], "m.parquet", [])

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["dreamjobs", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(str(code or 0)), out, err

    return call


def told(cli: Cli, *arguments: str) -> dict[str, Any]:
    """A plan as data."""
    code, out, err = cli("plan", "m.parquet", *arguments, *TINY, "--actors", "1", "--device", "cpu", "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_plan_counts_what_is_asked_for_and_left(cli: Cli) -> None:
    """Jobs, photographs, pictures and bytes are the manifest's less what RUN has; the pictures' sizes are exact."""
    found = told(cli)
    assert (found["jobs"], found["jobs_done"], found["photographs"], found["pictures"]) == (6, 0, 3, 6)
    assert found["bytes_in"] == 2 * sum(path.stat().st_size for path in Path("photos").iterdir())
    assert found["megapixel_steps"] == pytest.approx(6 * 3 * (24 * 20 + 17 * 14) / 1e6)
    assert {line["layers"]: line["jobs"] for line in found["lines"]} == {"things": 3, "parts": 3}
    assert found["seconds"] == pytest.approx(sum(found["wall"].values()))
    assert found["cost_usd"] is None
    assert not Path("run").exists()
    cli("run", "m.parquet", "run", "--inline", "--limit", "4", *TINY)
    left = told(cli, "run")
    assert (left["jobs"], left["jobs_done"]) == (2, 4)
    cli("run", "m.parquet", "run", "--inline", *TINY)
    assert (told(cli, "run")["jobs"], told(cli, "run")["lines"]) == (0, [])


def test_plan_prints_a_table_with_a_total(cli: Cli) -> None:
    """A line for each net and layers, a total, time and cost in a person's units."""
    code, out, _ = cli("plan", "m.parquet", *TINY, "--actors", "1", "--usd-per-hour", "3600")
    assert code == 0
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["tiny", "parts", "under", "0.25", "3", "3"] in [line[:6] for line in lines]
    assert ["total", "6", "6"] in [line[:3] for line in lines]
    assert "6 jobs to do: 3 photographs, 6 pictures" in out
    assert "with 1 actor on cpu, " in out
    assert "USD at 3,600.00 USD an hour" in out
    assert "rates: 2 timed now on this machine" in out


def test_rates_are_timed_once(cli: Cli) -> None:
    """The second plan takes them from the cache; other threads, another count of actors and --fresh do not."""
    assert told(cli)["rates"] == {"earlier_run": 0, "cached": 0, "timed": 2, "run": None}
    assert told(cli)["rates"]["cached"] == 2
    assert told(cli, "--set=objective=things:3")["rates"]["cached"] == 2
    assert told(cli, "--set=threads=2")["rates"]["timed"] == 2
    assert told(cli, "--fresh")["rates"]["timed"] == 2
    code, out, _ = cli("plan", "m.parquet", *TINY, "--actors", "2", "--device", "cpu", "--json")
    processes = min(2, os.cpu_count() or 1)
    assert code == 0
    assert json.loads(out)["rates"]["timed" if processes == 2 else "cached"] == 2


def test_rates_from_an_earlier_run(cli: Cli) -> None:
    """--from takes them from its results; nothing is timed for the kinds it has, and sizes of files are as there."""
    cli("run", "m.parquet", "run0", "--inline", *TINY)
    found = told(cli, "--from", "run0")
    assert found["rates"] == {"earlier_run": 2, "cached": 0, "timed": 0, "run": "run0"}
    assert found["bytes_out"] == pytest.approx(sum(row["size_bytes"] for row in rows("run0")), abs=3)
    assert found["notes"] == []
    dreamed = sum(row["dream_s"] for row in rows("run0"))
    assert sum(line["actor_hours"] for line in found["lines"]) * 3600 < 3 * dreamed
    assert not (Path("cache") / "dreamjobs").exists()


def test_sample_into_a_run(cli: Cli) -> None:
    """K jobs are dreamed into RUN, the run finds them done, and the plan is of the others."""
    found = told(cli, "run", "--sample", "2")
    assert (found["jobs"], found["jobs_done"]) == (4, 2)
    assert len(rows("run")) == 2
    assert found["sample"] == str(Path("run").resolve())
    _, out, _ = cli("run", "m.parquet", "run", "--inline", *TINY)
    assert out.startswith("4 done, 0 failed, 0 left, 2 done before; ")
    assert cli("verify", "run")[0] == 0


def test_sample_without_a_run(cli: Cli) -> None:
    """The pictures are in a folder of their own, which is named; the plan is of everything."""
    code, out, _ = cli("plan", "m.parquet", *TINY, "--sample", "2", "--actors", "1")
    assert code == 0
    assert "6 jobs to do: " in out
    place = next(line for line in out.splitlines() if line.startswith("sample: ")).removeprefix("sample: pictures in ")
    assert len(list(Path(place).rglob("*.png"))) == 2


def test_a_sequence_is_planned(cli: Cli) -> None:
    """Frames are pictures, and the time of putting each is counted."""
    found = told(cli, "--set=frames=4", "--set=zoom=1.1")
    assert (found["jobs"], found["pictures"]) == (3 * 2, 3 * 2 * 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.parquet"], "there is no manifest at 'none.parquet'"),
        (["m.parquet", "--set", "octave=3"], "did you mean `octaves`?"),
        (["m.parquet", "--set", "net=tiny", "--set", "objective=nothing"], "nothing"),
        (["m.parquet", "--device", "tpu"], "allowed is cpu or cuda"),
        (["m.parquet", "--from", "nowhere"], "holds no run"),
        (["m.parquet", "--from", "nowhere", "--sample", "1"], "cannot be given together"),
    ],
)
def test_what_run_refuses_plan_refuses(cli: Cli, arguments: list[str], said: str) -> None:
    """Exit code 2, with what is allowed."""
    code, out, err = cli("plan", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_an_earlier_run_of_other_weights_is_refused(cli: Cli) -> None:
    """Its times say nothing about these."""
    cli("run", "m.parquet", "run0", "--inline", *TINY)
    code, _, err = cli("plan", "m.parquet", "--from", "run0", "--set=net=dreamnet")
    assert code == 2
    assert "no picture made with the weights" in err


def test_another_runs_folder_is_told(cli: Cli) -> None:
    """RUN that was started with something else is planned for, with a note that run takes --extend."""
    cli("run", "m.parquet", "run", "--inline", *TINY)
    found = told(cli, "run", "--set=seed=3")
    assert found["jobs"] == 6
    assert "run takes --extend" in found["notes"][0]


def test_a_dream_that_cannot_be_timed_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is not there is the person's to mend, not a traceback."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a graphics card")
    code, _, err = cli("plan", "m.parquet", *TINY, "--device", "cuda")
    assert code == 2
    assert "no dream could be timed on 'cuda'" in err


def test_plan_from_python(cli: Cli) -> None:
    """The same without the command line."""
    found = plan("m.parquet", settings={"net": "tiny", "objective": "things", "steps": 1})
    assert (found.jobs, found.cost_usd) == (3, None)


def test_a_process_that_dies_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One killed for memory, say, ends the plan with advice; the others do not keep it waiting."""
    monkeypatch.setattr(calibrate, "_work", _die)
    code, _, err = cli("plan", "m.parquet", *TINY, "--actors", "1")
    assert code == 2
    assert "a process that timed dreams died" in err


def _die(*_: object) -> None:
    os._exit(9)
