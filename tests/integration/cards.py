"""Graphics cards that are not there, for actors on a machine without one.

Ray hands out logical cards: it counts them and names them to processes, and asks for no device. In a process whose
`Dreamer` is to use one, `play` has tensors computed on the CPU though they say that they lie on the card, and has torch
tell of a memory that the test chose for the node. What was fetched, stored and dreamed where is noted for the test.

Shown is so which process has which card and what is made of the memory that torch tells of; not CUDA, nor how much
memory a net really takes.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Note = dict[str, Any]
"""What was done (`fetch`, `store`, `actor` begun, `batch` of tiles), by which process, on which node, on which card."""
FOLDER = "DREAMJOBS_TEST_CARDS"
"""The variable that names the folder for notes."""
_ROOMS = "rooms.json"
_PLAYED = "dreamjobs.engine.remote"  # with which Ray's processes import all that they do for a run


def hook(folder: Path) -> str:
    """A folder for PYTHONPATH: processes that find it there play cards and note what they do in `folder`."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text("from integration import cards\n\ncards.play()\n")
    return str(folder / "hook")


def put_rooms(folder: Path, rooms: Mapping[str, int]) -> None:
    """Say for how many tiles the cards of each node have memory; actors read it as they start."""
    (folder / _ROOMS).write_text(json.dumps(rooms))


def notes(folder: Path) -> list[Note]:
    """What processes noted so far."""
    lines = [line for path in folder.glob("*.notes") for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be half written


def name(room: int) -> str:
    """What torch calls a card with room for so many tiles."""
    return f"a card that is played, with room for {room}"


def forget(folder: Path) -> None:
    """Drop notes, and what was said about rooms."""
    for path in [*folder.glob("*.notes"), *folder.glob(_ROOMS)]:
        path.unlink()


def play() -> None:
    """Replace what a process of Ray would do with a card, as soon as it imports that: most never do."""
    sys.meta_path.insert(0, _AfterImport())


class _AfterImport(MetaPathFinder):
    """Finds one module as the others would, and changes it once it is loaded."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != _PLAYED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert isinstance(spec, ModuleSpec)
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            _change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _change(remote: Any) -> None:
    class CardDreamer(remote.Dreamer):  # type: ignore[misc]
        def __init__(self, device: str) -> None:
            _note("actor", device=device)
            if device == "cuda":
                _play_card()
            super().__init__(device)

    remote.Dreamer = CardDreamer
    remote.fetch, remote.store = (_noted(name, getattr(remote, name)) for name in ("fetch", "store"))


def _noted(what: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stage)
    def noted(*args: Any) -> Any:
        made = stage(*args)
        _note(what)
        return made

    return noted


def _note(what: str, **more: Any) -> None:
    note = {"what": what, "node": _node(), "pid": os.getpid(), "card": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with open(Path(os.environ[FOLDER]) / f"{os.getpid()}.notes", "a") as file:
        file.write(json.dumps(note | more) + "\n")


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _play_card() -> None:
    """From here on this process has a card, as far as the code that dreams can tell."""
    import torch
    from torch.overrides import TorchFunctionMode

    from dreamjobs.octaves import tiled

    device = torch.device("cuda")
    where_it_lies = torch.Tensor.device.__get__

    def on_cpu(value: Any) -> Any:
        is_card = value == "cuda" if isinstance(value, str) else isinstance(value, torch.device) and value == device
        return "cpu" if is_card else value

    class OnCpu(TorchFunctionMode):
        """Computes on the CPU what is asked of the card; tensors there say that they are on the card."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func == where_it_lies:
                found = func(*args)
                return device if found.type == "cpu" else found  # and not `meta`
            return func(*map(on_cpu, args), **{name: on_cpu(value) for name, value in (kwargs or {}).items()})

    OnCpu().__enter__()  # type: ignore[no-untyped-call]  # torch leaves it so
    rooms = Path(os.environ[FOLDER]) / _ROOMS
    memory = _Memory(json.loads(rooms.read_text())[_node()] if rooms.exists() else 1)
    memory.replace_torchs(torch)
    tiled.in_batches = memory.in_batches(tiled.in_batches)  # type: ignore[attr-defined]


class _Memory:
    """The memory of a card with room for so many of a picture's largest tiles; smaller ones take less."""

    _NET, _TILE, _ALL = 1 << 30, 1 << 28, 1 << 40

    def __init__(self, room: int) -> None:
        # The code fills three fifths of what is free. Half a tile more than fits: the rounding is none of the test's.
        self.free = int((room + 0.5) * self._TILE / 0.6)
        self.room, self.peak = room, 0

    def replace_torchs(self, torch: Any) -> None:
        cuda = torch.cuda
        cuda.get_device_name = lambda device=None: name(self.room)
        cuda.reset_peak_memory_stats = lambda device=None: setattr(self, "peak", 0)
        cuda.memory_allocated = cuda.memory_reserved = lambda device=None: self._NET
        cuda.max_memory_allocated = lambda device=None: self._NET + self.peak
        cuda.mem_get_info = lambda device=None: (self.free, self._ALL)

    def in_batches(self, real: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The real choice of batches, each of which takes memory and is noted."""

        def pixels(piece: Any) -> int:
            return int(piece.crop.height * piece.crop.width)

        def in_batches(pieces: Any, work: Callable[[Any], Any], size: Any, device: Any) -> Iterator[Any]:
            largest = max(map(pixels, pieces))

            def counted(batch: Any) -> Any:
                self._take(self._TILE * sum(map(pixels, batch)) // largest)
                _note("batch", tiles=len(batch), device=str(device))
                return work(batch)

            return real(pieces, counted, size, device)

        return in_batches

    def _take(self, size: int) -> None:
        import torch

        if size > self.free:
            raise torch.OutOfMemoryError(f"{size} bytes on a card that is played")
        self.peak = max(self.peak, size)
