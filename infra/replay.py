"""The steps of infra/Dockerfile on a machine without an engine that builds images.

    python infra/replay.py FOLDER

FOLDER takes the place of the image's root: what the steps copy to /opt and install there comes to FOLDER/opt, of the
files that the build would see. Then the image's command is run, in its environment. Not done are the two steps that are
the operating system's, its packages and its user. 7 GB, some minutes.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_OF_THE_SYSTEM = ("apt-get", "useradd")
_MOVED = re.compile(r"(?<![\w.-])/(?=(opt|etc|home)/)")


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile with its arguments, lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def allowed(path: str) -> bool:
    """Whether the build sees a file: whatever .dockerignore names after `*`, less what it takes back."""
    lines = (ROOT / "infra/Dockerfile.dockerignore").read_text().splitlines()
    first, *rules = [line for line in lines if line and line[0] != "#"]
    if first != "*":
        raise SystemExit(
            "infra/Dockerfile.dockerignore: the first rule is to be `*`, so that only what is named is seen"
        )
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    dropped = [rule.removeprefix("**/") for rule in rules if not rule.startswith("!")]
    inside = any(path == rule or path.startswith(f"{rule}/") for rule in kept)
    return inside and not any(fnmatch.fnmatch(part, rule) for part in path.split("/") for rule in dropped)


class Replay:
    """What the steps so far came to: the folder to be in, the build's arguments and the image's environment."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root
        self.arguments: dict[str, str] = {}
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        # Where packages are had from is this machine's matter.
        self.environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    def step(self, word: str, rest: str) -> None:
        """One instruction; those of the system, and those that change no file and run nothing, are passed over.

        Raises:
            ValueError: it is none of those that the Dockerfile has had.
            subprocess.CalledProcessError: a command failed.
        """
        rest = _MOVED.sub(f"{self.root}/", rest)
        match word:
            case "ARG":
                name, _, value = rest.partition("=")
                self.arguments[name] = value.strip('"')
            case "ENV":
                for name, _, value in (pair.partition("=") for pair in shlex.split(rest)):
                    self.environment[name] = value.replace("${PATH}", self.environment["PATH"])
            case "WORKDIR":
                self.folder = Path(rest)
                self.folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = rest.split()
                self._copy(sources, self.folder / target)
            case "RUN" if not any(name in rest for name in _OF_THE_SYSTEM):
                # Whose the files are is the image's matter.
                self._run(["bash", "-o", "pipefail", "-c", f"chown() {{ :; }}; {rest}"])
            case "CMD":
                self._run(json.loads(rest))
            case "FROM" | "SHELL" | "USER" | "ENTRYPOINT" | "RUN":
                pass
            case _:
                raise ValueError(f"{word} is not replayed yet")

    def _copy(self, sources: list[str], target: Path) -> None:
        for path in _tracked(sources):
            if sources != ["."] and path not in sources:
                raise ValueError(f"COPY of a folder, here {path}, is not replayed yet, but for that of all")
            # Of a folder its contents are copied, of a file itself.
            place = target / path if sources == ["."] else target / Path(path).name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, place)

    def _run(self, command: list[str]) -> None:
        print("+", command[-1], flush=True)
        (self.root / "etc/profile.d").mkdir(parents=True, exist_ok=True)
        subprocess.run(command, cwd=self.folder, env=self.arguments | self.environment, check=True)


def _tracked(sources: list[str]) -> Iterator[str]:
    listed = subprocess.run(["git", "ls-files", *sources], cwd=ROOT, capture_output=True, text=True, check=True)
    return filter(allowed, listed.stdout.splitlines())


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    replay = Replay(Path(sys.argv[1]).resolve())
    for word, rest in instructions((ROOT / "infra/Dockerfile").read_text()):
        replay.step(word, rest)


if __name__ == "__main__":
    main()
