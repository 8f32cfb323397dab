"""infra/Dockerfile: what can be known of it without an engine that builds it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from infra_files import ROOT, pins, project, spelled, stack, version
from packaging.requirements import Requirement

TEXT = (ROOT / "infra/Dockerfile").read_text()


def _script(path: str) -> Any:
    """A script that is in no package."""
    spec = importlib.util.spec_from_file_location("script", ROOT / path)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


replay = _script("infra/replay.py")


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments, lines joined."""
    found: list[tuple[str, str]] = replay.instructions(TEXT)
    return found


def extras() -> list[str]:
    """The extras that the image installs."""
    (value,) = [rest for word, rest in instructions() if word == "ARG" and rest.startswith("EXTRAS=")]
    return value.removeprefix("EXTRAS=").split(",")


def needs(names: list[str]) -> set[str]:
    """Every distribution, by pip's spelling, that the named requirements bring on this machine's platform."""
    found: set[str] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        asked = todo.pop()
        name = spelled(asked.name)
        if (key := f"{name}[{','.join(sorted(asked.extras))}]") in found:
            continue
        found.add(key)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (asked.extras or {""})):
                todo.append(needed)
    return {key.partition("[")[0] for key in found}


def test_hadolint_is_content() -> None:
    """The linter of Dockerfiles finds nothing."""
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "infra/Dockerfile"], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def test_everything_installed_is_pinned() -> None:
    """constraints.txt names a version for each distribution that the image installs, whatever it follows from."""
    found = project()
    asked = found["dependencies"] + [line for extra in extras() for line in found["optional-dependencies"][extra]]
    installed = needs(asked)
    assert {"aiohttp", "open-clip-torch", "av"} <= installed
    assert installed - set(pins()) == set()


def test_pins_are_what_was_tested() -> None:
    """The Ray and torch of constraints.txt are those that these tests run with."""
    for name in ("ray", "torch"):
        assert importlib.metadata.version(name).partition("+")[0] == pins()[name]


def test_the_package_is_whole(tmp_path: Path) -> None:
    """From the files that the build sees, `pip install --no-deps .` makes a package with all of its data."""
    source = tmp_path / "source"
    for path in (path for name in ("dreamjobs", "cluster") for path in (ROOT / name).rglob("*")):
        relative = path.relative_to(ROOT).as_posix()
        if path.is_file() and replay.allowed(relative):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / relative)
    for path in ROOT.iterdir():
        if path.is_file() and replay.allowed(path.name):
            shutil.copy(path, source / path.name)
    assert (source / "cluster/spot_first.py").exists()
    # the build's own environment needs the network; its backend is here already
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*wheel, tmp_path, "."], cwd=source, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(built).namelist() if name.startswith("dreamjobs/")}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dreamjobs").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == here
    assert built.name.startswith(f"dreamjobs-{version()}-")


def test_the_image_runs_without_rights() -> None:
    """Its last user is a number and not root, and HOME is told, from which `ray up` takes where files are mounted."""
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users[-1] == "1000:1000"
    assert any(word == "ENV" and "HOME=/home/" in rest for word, rest in instructions())
    assert ("ENTRYPOINT", "[]") in instructions()


def test_no_secret_gets_in() -> None:
    """The build sees no key, run, photograph or git directory, and is given no argument that would be one."""
    for path in (".git/config", ".env", "demo-run/run.json", "photos/a.jpg", "key.pem", "tests/conftest.py"):
        assert not replay.allowed(path)
    names = [rest.partition("=")[0] for word, rest in instructions() if word == "ARG"]
    assert names == ["BASE", "EXTRAS", "NETS"]


def test_the_tag_is_the_version() -> None:
    """The image is tagged with the package's version, in the stack's output and in the command at the top."""
    assert stack()["Outputs"]["Image"]["Value"]["!Sub"].endswith(f":{version()}")
    assert f"-t dreamjobs:{version()} ." in TEXT


def test_steps_are_replayed_in_a_folder(tmp_path: Path) -> None:
    """What `infra/replay.py` does of a Dockerfile: files that the build sees, paths below the folder, commands run."""
    steps = replay.Replay(tmp_path)
    for word, rest in [
        ("ARG", 'KIND="small"'),
        ("ENV", "PLACE=/opt/place"),
        ("WORKDIR", "/opt/src"),
        ("COPY", "pyproject.toml Makefile ./"),
        ("RUN", "apt-get update && touch /opt/never"),
        ("RUN", 'echo "${KIND} ${PLACE}" > told && chown 1:1 /opt/src'),
        ("CMD", '["cp", "told", "/opt/answer"]'),
    ]:
        steps.step(word, rest)
    found = {str(path.relative_to(tmp_path / "opt")) for path in (tmp_path / "opt").rglob("*") if path.is_file()}
    assert found == {"src/pyproject.toml", "src/told", "answer"}
    assert (tmp_path / "opt/answer").read_text() == f"small {tmp_path}/opt/place\n"
    with pytest.raises(subprocess.CalledProcessError):
        steps.step("RUN", "false | cat")
    for word, rest in [("ADD", "pyproject.toml ./"), ("COPY", "dreamjobs ./")]:
        with pytest.raises(ValueError, match="not replayed"):
            steps.step(word, rest)
