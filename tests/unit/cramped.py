"""A reader on a device of little memory, for goals that must make do with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dreamjobs.nets import Reader
from dreamjobs.octaves import Goal


class Cramped:
    """A reader on a device that holds `room` pixels; how many pictures were in each pass that fitted is kept."""

    def __init__(self, reader: Reader, room: int) -> None:
        self._reader, self._room = reader, room
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        self._take(picture)
        return self._reader(picture)

    def trunk(self, picture: Tensor) -> dict[str, Tensor]:
        self._take(picture)
        return self._reader.trunk(picture)

    def before_relus(self, picture: Tensor) -> dict[str, tuple[Tensor, ...]]:
        self._take(picture)
        return self._reader.before_relus(picture)

    def _take(self, picture: Tensor) -> None:
        if len(picture) * picture.shape[2] * picture.shape[3] > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.batches.append(len(picture))


def cramped(one: Goal, room: int, batch: int) -> tuple[Goal, Cramped]:
    reader = Cramped(one.reader, room)
    return replace(one, reader=reader, batch=batch), reader  # type: ignore[arg-type]
