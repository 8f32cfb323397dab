"""What a run was asked for, checked; also by a process of its own.

To check nets takes torch, which is half a gigabyte of memory for good. A driver that hands its work to Ray dreams
nothing, so unless its process has torch already, as a notebook's may, it lets another check, which is told by standard
input and answers by standard output.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dreamjobs import manifest
from dreamjobs.errors import DreamjobsError, RunError
from dreamjobs.heap import collect_seldom
from dreamjobs.ledger import RunRecord
from dreamjobs.params import DreamParams, names_file
from dreamjobs.storage import join_url
from dreamjobs.worker import Dreamer, Library, versions

_CHILD = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from dreamjobs.engine.asking import answer
answer()
"""


@dataclass(frozen=True)
class Asked:
    """A manifest and settings that were checked."""

    manifest: manifest.Manifest
    record: RunRecord
    threads: int


def ask(url: str, overrides: Mapping[str, Any]) -> tuple[Asked, Library]:
    """Find everything that can be wrong before a start: columns, values, nets, weights, layers.

    Raises:
        InputError: as `run`.
    """
    settings = _absolute(overrides)
    asked = manifest.open_manifest(url)
    dreamer, library = Dreamer(), Library()

    def check_net(params: DreamParams) -> None:
        dreamer.check(params, library.weights(params.net, params.weights), library.files(params, asked.base))

    trusted = _own_nets(settings)
    checked = manifest.check(asked, settings, check_net, trusted)
    record = RunRecord(
        manifest=join_url(".", url),
        manifest_digest=asked.digest,
        base=asked.base,
        rows=asked.rows,
        jobs=checked.jobs,
        overrides=settings,
        trusted_nets=sorted(trusted),
        weights=library.digests(),
        files=library.named_files(),
        versions=versions(),
    )
    return Asked(asked, record, checked.threads), library


def _own_nets(settings: Mapping[str, Any]) -> frozenset[str]:
    """Nets named as code by the caller; a manifest's cells never are."""
    return frozenset(net for net in _list(settings.get("net")) if isinstance(net, str))


def _absolute(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, weights files named so that they are found from anywhere."""
    cell = settings.get("weights")
    if cell is None:
        return dict(settings)
    values = [join_url(".", value) if isinstance(value, str) and names_file(value) else value for value in _list(cell)]
    return {**settings, "weights": values if isinstance(cell, list) else values[0]}


def _list(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]


def ask_apart(url: str, overrides: Mapping[str, Any]) -> tuple[Asked, Library]:
    """`ask`, done by another process.

    Raises:
        InputError: as `run`.
        RunError: if that process ends without an answer.
    """
    request = pickle.dumps(sys.path) + pickle.dumps((url, dict(overrides)))
    with subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            answer, _ = child.communicate(request)
        finally:
            child.kill()  # where we were interrupted; one that has ended is past that
    if child.returncode:
        raise RunError(f"the process that checks nets ended with code {child.returncode}; what it said stands above")
    found: tuple[Asked, Library] | DreamjobsError = pickle.loads(answer)
    if isinstance(found, DreamjobsError):
        raise found
    return found


def answer() -> None:
    """What the other process does, and ends; nothing but its answer may be printed where that goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this one
    collect_seldom()
    out = os.dup(1)
    os.dup2(2, 1)
    url, overrides = pickle.load(sys.stdin.buffer)
    found: tuple[Asked, Library] | DreamjobsError
    try:
        found = ask(url, overrides)
    except DreamjobsError as error:
        found = error
    with open(out, "wb") as file:
        pickle.dump(found, file)
    sys.stdout.flush()
    os._exit(0)  # to take torch down would keep the driver waiting for a second
