"""The documents say what the code says."""

from pathlib import Path

from typer.main import get_command

from dreamjobs.cli.app import app
from dreamjobs.params import markdown_table
from dreamjobs.results import SCHEMA

ROOT = Path(__file__).parents[2]


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
