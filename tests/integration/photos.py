"""Small photographs, runs of the tiny net, nets that misbehave, and processes to be watched and killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dreamjobs import results
from dreamjobs.engine import RunOptions, run
from dreamjobs.jobs import Keys, Summary
from dreamjobs.nets.tiny import Tiny
from dreamjobs.storage import Store, open_store

TINY: dict[str, Any] = {"net": "tiny", "objective": "things", "octaves": 2, "steps": 2, "jitter": 2}
POISON = "integration.photos:Poisonable"
GATED = "integration.photos:Gated"
HELD = "integration.photos:Held"
WIDE = 60
RED = (255, 0, 0)


def noise(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A picture like no other seed's."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """A picture's file."""
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def put_photos(folder: str, count: int, *, size: tuple[int, int] = (24, 20)) -> None:
    """`0.png`, `1.png`, ... in a folder, local or on S3."""
    store = open_store(folder)
    for number in range(count):
        store.put(f"{number}.png", encoded(noise(number, size)))


def go(manifest: str, url: str, settings: dict[str, Any] | None = None, **options: Any) -> Summary:
    """Run a manifest with the tiny net."""
    return run(manifest, url, TINY | (settings or {}), RunOptions(**options))


def pictures(url: str) -> dict[str, bytes]:
    """Every picture of a run, by key."""
    store = open_store(url)
    return {info.key: store.get(info.key) for info in store.list(Keys.IMAGES)}


def pixels(url: str) -> dict[str, NDArray[np.int16]]:
    """The pictures of a run, without what their files say of the device that made them."""
    return {key: np.asarray(Image.open(io.BytesIO(data)), np.int16) for key, data in pictures(url).items()}


def rows(url: str | Store) -> list[dict[str, Any]]:
    """The current results of a run."""
    return results.read(open_store(url) if isinstance(url, str) else url).to_pylist()


def all_rows(url: str) -> list[dict[str, Any]]:
    """The results of a run as they were written, superseded ones too."""
    import pyarrow.parquet as pq

    filesystem, root = open_store(url).arrow()
    keys = [info.key for info in open_store(url).list(Keys.RESULTS)]
    return [row for key in keys for row in pq.read_table(f"{root}/{key}", filesystem=filesystem).to_pylist()]


def wait_for(what: Callable[[], Any], timeout_s: float = 90.0) -> Any:
    """What the function gives once that is true; an error after `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while not (found := what()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} stayed {found!r} for {timeout_s} s")
        time.sleep(0.1)
    return found


class Command:
    """`python -m dreamjobs ...` as a process in a group of its own, output in files; `inside` goes before all that."""

    def __init__(self, folder: Path, *arguments: str, inside: Sequence[str] = ()) -> None:
        self._out = open(folder / "command.out", "wb+")  # noqa: SIM115  # it lives as long as the process
        tests = str(Path(__file__).resolve().parents[1])
        paths = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
        self.mark = f"DREAMJOBS_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", "dreamjobs", *arguments],
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_signals,  # noqa: PLW1509  # it takes no lock
            env=os.environ | {"PYTHONPATH": paths, name: value, "DREAMJOBS_TEST_GATE": str(folder)},
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._out.close()

    @property
    def output(self) -> str:
        """What it printed so far."""
        return os.pread(self._out.fileno(), 1 << 20, 0).decode()

    def interrupt(self) -> None:
        """Press Ctrl-C: the signal goes to the whole group, as from a terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill the driver as `kill -9` does, it alone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self, timeout_s: float = 120.0) -> int:
        """The exit code."""
        return self.process.wait(timeout_s)

    def until(self, what: Callable[[], Any], timeout_s: float = 90.0) -> Any:
        """Wait for something while the process lives."""

        def alive() -> Any:
            found = what()
            if not found and self.process.poll() is not None:
                raise ChildProcessError(f"exit code {self.process.returncode}: {self.output}")
            return found

        return wait_for(alive, timeout_s)


def leftovers(command: Command) -> list[str]:
    """Titles of processes that a command started, by itself or through Ray, and that live on.

    Not counted are two agents of Ray, which hold nothing and take a minute to see that their node is gone.
    """
    titles = [_title(pid) for pid in processes_with(command.mark)]
    return [title for title in titles if not title.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))]


def processes_with(variable: str) -> list[int]:
    """Processes that were started with this `NAME=value` in their environment."""
    return [pid for pid in _processes() if variable.encode() in _environment(pid)]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _heed_signals() -> None:
    """Tests that run in the background inherit that interrupts and hangups are ignored; at a terminal they are not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def dreaming_pids() -> list[int]:
    """Processes below this one in which a Ray actor is dreaming now."""
    return dreaming_below(os.getpid())


@contextmanager
def killing(gate: Path) -> Iterator[list[int]]:
    """Kill an actor below this process while it dreams slowly and open the gate; the list comes to hold its pid."""
    killed: list[int] = []

    def kill() -> None:
        pid = wait_for(dreaming_pids)[0]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        gate.touch()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        thread.join()


def dreaming_below(ancestor: int) -> list[int]:
    """Processes below another in which a Ray actor is dreaming now."""
    titles = ("ray::_Actor.dream", "ray::_Actor.ascend", "ray::_Actor.make")
    return [pid for pid in _processes() if _title(pid).startswith(titles) and _is_below(pid, ancestor)]


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _is_below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


class _Poison(nn.Module):
    """Ends its process at the sight of pure red."""

    __module__ = "torch.nn.poison"  # so that tracing a net takes this as one node and does not look inside

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "meta":
            red, green, blue = x.detach().mean((0, 2, 3)).tolist()
            if red > 0.999 and green < 0.001 and blue < 0.001:
                os._exit(9)
        return x


class _Gate(nn.Module):
    """Shows that a wide picture is being dreamed, by files `dreaming` and `dreaming.PID`; slow until there is `open`.

    They stand in the folder that DREAMJOBS_TEST_GATE names; the second has a dot for each step, which waits for so long
    at the most.
    """

    __module__ = "torch.nn.gate"

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self._patience_s = patience_s

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "meta" and x.shape[-1] >= WIDE:
            folder = Path(os.environ["DREAMJOBS_TEST_GATE"])
            (folder / "dreaming").touch()
            with open(folder / f"dreaming.{os.getpid()}", "a") as steps:
                steps.write(".")
            end = time.monotonic() + self._patience_s
            while not (folder / "open").exists() and time.monotonic() < end:
                time.sleep(0.02)
        return x


class Gated(Tiny):
    """The tiny net, whose wide pictures are slow at a gate."""

    patience_s = 0.25

    def __init__(self) -> None:
        super().__init__()
        self.gate = _Gate(self.patience_s)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) pixels -> (N, 10) logits."""
        return super().forward(self.gate(x))


class Held(Gated):
    """The tiny net, whose wide pictures wait at a gate however long."""

    patience_s = 600.0


class Poisonable(Tiny):
    """The tiny net, except that a pure red picture kills the process that dreams it."""

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.poison = _Poison()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) pixels -> (N, 10) logits."""
        return super().forward(self.poison(x))


def save_weights(path: str, seed: int) -> bytes:
    """Weights of the tiny net, other than its own; their file's bytes."""
    import safetensors.torch

    torch.manual_seed(seed)
    data = safetensors.torch.save({name: value.contiguous() for name, value in Tiny().state_dict().items()})
    Path(path).write_bytes(data)
    return data
