"""Each grid in manifests/ is run small, by the commands that its comments show."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from integration.photos import noise, rows

from dreamjobs import ledger
from dreamjobs.cli import main
from dreamjobs.storage import open_store

FOLDER = Path(__file__).parents[2] / "manifests"
EXAMPLES = sorted(path.name for path in FOLDER.iterdir())
SMALL = {"max_side": 64, "steps": 1, "octaves": 1}
SMALLER = {"zoom.yaml": {"frames": 3}, "layers-x-octaves.yaml": {"octaves": "[1,2]"}}


def commands(name: str) -> list[list[str]]:
    """The command lines in a grid's comments."""
    found = re.findall(r"^#   dreamjobs (.+)$", (FOLDER / name).read_text(), re.MULTILINE)
    return [shlex.split(line) for line in found]


def give(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One command line, in this process; it must succeed."""
    monkeypatch.setattr(sys, "argv", ["dreamjobs", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
        sys.exit()  # a command that ends by itself
    assert not ended.value.code, arguments


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two photographs, a pattern and the grids, where commands are given."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDER, "manifests")
    Path("photos").mkdir()
    for seed in (0, 1):
        noise(seed, (72, 60)).save(f"photos/{seed}.png")
    noise(2, (16, 16)).resize((64, 64)).save("pattern.png")
    return tmp_path


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_commands_of_an_example_work(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that a grid's comments show succeeds, and every job of it becomes a picture."""
    shown = commands(name)
    settings = [f"--set={key}={value}" for key, value in (SMALL | SMALLER.get(name, {})).items()]
    for arguments in shown:
        more = {"manifest": settings, "run": ["--inline"]}.get(arguments[0], [])
        give([*arguments, *more], monkeypatch)
    runs = [arguments[2] for arguments in shown if arguments[0] == "run"]
    assert runs
    for run in runs:
        found = ledger.status(open_store(run))
        assert (found.done, found.failed, found.left) == (found.jobs, 0, 0)
        assert all((place / run / row["output"]).is_file() for row in rows(run))
    for arguments in shown:
        if arguments[0] == "sheet":
            assert (place / arguments[arguments.index("-o") + 1]).stat().st_size > 1000
