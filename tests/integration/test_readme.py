"""What the README shows is what happens."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with `photos` in it, where the README's commands are given one after another."""
    place = tmp_path_factory.mktemp("readme")
    (place / "photos").mkdir()
    data = Path(next(iter(find_spec("skimage").submodule_search_locations))) / "data"  # type: ignore[union-attr]
    for name in PHOTOGRAPHS:
        shutil.copy(data / name, place / "photos" / name)
    return place


def shown() -> Iterator[tuple[str, str]]:
    """Each command of the README's console blocks, and the output shown under it."""
    for block in re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = entry.partition("\n")
            yield command, output


def without_times(text: str, folder: Path) -> str:
    """The text without seconds, the folder's path, and the progress that a slow machine tells in between."""
    text = re.sub(r"^.* pictures/min, .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\d+\.\d+ s", "... s", text).replace(f"{folder}/", "")


def test_commands_print_what_the_readme_shows(folder: Path) -> None:
    """Every command of the README, in order, succeeds and prints what is shown, times apart."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    for command, output in shown():
        done = subprocess.run(
            command, shell=True, cwd=folder, env={"PATH": path, "HOME": str(folder)}, capture_output=True, text=True
        )
        printed = done.stderr + done.stdout
        assert done.returncode == 0, f"{command}\n{printed}"
        assert without_times(printed, folder) == without_times(output, folder), command


def test_python_example_runs(folder: Path) -> None:
    """The README's Python example runs as it is, after the commands."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.stdout == "12 pictures\n", done.stderr
