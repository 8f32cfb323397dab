"""The documents say what the code says."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dreamjobs.cli.app import app
from dreamjobs.params import markdown_table
from dreamjobs.results import SCHEMA

ROOT = Path(__file__).parents[2]
CLUSTER = (ROOT / "docs/cluster.md").read_text()


def commands(page: str) -> list[str]:
    """The lines of a page that begin with `dreamjobs`, continued ones joined; PLACEHOLDERs and `$(...)` are 1."""
    code = "\n".join(re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    filled = re.sub(r"\$\([^)]*\)|\b[A-Z]{4,}\b", "1", code)
    return re.findall(r"^ *(dreamjobs .*)$", filled, re.MULTILINE)


def parsed(line: str) -> dict[str, Any]:
    """What the command line makes of a command."""
    program, name, *arguments = shlex.split(line, comments=True)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options: dict[str, Any] = command.make_context(f"{program} {name}", arguments).params
    return options


def test_parameters_page_is_the_models_table() -> None:
    """docs/parameters.md holds the table that the model generates, to the letter."""
    assert markdown_table() in (ROOT / "docs/parameters.md").read_text()


def test_every_results_column_is_documented() -> None:
    """docs/manifest.md names every column of the results that is not a parameter."""
    page = (ROOT / "docs/manifest.md").read_text()
    columns = [name for name in SCHEMA.names if f"`{name}`" not in page and f"`{name}`" not in markdown_table()]
    assert columns == []


def test_every_command_is_in_the_readme() -> None:
    """The README shows every command of the command line."""
    readme = (ROOT / "README.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name in commands if f"dreamjobs {name}" not in readme] == []


def test_no_page_names_a_private_path() -> None:
    """No document or manifest carries an absolute path of the machine it was written on."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("manifests/*")]
    assert [page.name for page in pages if str(ROOT) in page.read_text()] == []


@pytest.mark.parametrize("line", commands(CLUSTER))
def test_the_commands_for_a_cluster_are_commands(line: str) -> None:
    """The command line takes each command of docs/cluster.md, and what is submitted waits for cards."""
    options = parsed(line)
    if line.startswith("dreamjobs submit"):
        assert options["gpus_per_actor"]


def test_a_sample_is_planned_from_as_it_was_dreamed() -> None:
    """docs/cluster.md has a run of one actor on a card, and plans from it for cards."""
    samples = [parsed(line) for line in commands(CLUSTER) if line.startswith("dreamjobs submit") and "sample" in line]
    plans = [parsed(line) for line in commands(CLUSTER) if "--from" in line]
    assert [(found["actors"], found["gpus_per_actor"]) for found in samples] == [("1", 1)]
    assert [(found["device"], found["earlier"]) for found in plans] == [("cuda", samples[0]["run_url"])]
