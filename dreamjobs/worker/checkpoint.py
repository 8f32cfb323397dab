"""A long dream's finished octaves under RUN, so that a picture that was killed goes on at its octave.

A checkpoint is one safetensors file: the picture, the state of the random numbers, the objective so far, and a record
of what it was made by. It is used where all of that is the same, so that the resumed dream is equal to the last bit;
any other is as if it were not there.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dreamjobs.errors import NotFoundError, TransientError
from dreamjobs.jobs import Job, Keys
from dreamjobs.storage import Store
from dreamjobs.worker.stages import Work, versions

if TYPE_CHECKING:
    from torch import Tensor

    from dreamjobs.octaves import Progress

CHECKPOINT_S = 120.0
"""Seconds of dreaming that a kill may cost, besides those of the octave that was begun."""


@dataclass
class Checkpoint:
    """Keeps the progress of one job's dream under RUN, no oftener than every `every_s` seconds.

    `made_by` is what a checkpoint must have been made by to be resumed here. `is_there` tells that there is, or was,
    one to be deleted when the picture is stored.
    """

    run: Store
    key: str
    made_by: dict[str, object]
    every_s: float
    is_there: bool = False
    _last_s: float = field(default_factory=time.monotonic)

    def load(self) -> "Progress | None":
        """What an earlier attempt left; None where there is nothing, or nothing that can be gone on with.

        Raises:
            StorageError, AccessError
        """
        try:
            data = self.run.get(self.key)
        except NotFoundError:
            return None
        self.is_there = True
        return _unpack(data, self.made_by)

    def keep(self, progress: "Progress") -> None:
        """Put this progress in place of the last, if it is time."""
        if time.monotonic() - self._last_s < self.every_s:
            return
        with suppress(TransientError):  # a dream need not end because this was not kept
            _put(self.run, self.key, progress, self.made_by)
            self.is_there = True
        self._last_s = time.monotonic()


def checkpoint(job: Job, work: Work, run: Store, *, device: str, every_s: float) -> Checkpoint:
    """Where a job's dream on this device is kept between octaves."""
    made_by: dict[str, object] = {"job": job.id, "source": work.source_sha256, "device": device, "versions": versions()}
    return Checkpoint(run, Keys.checkpoint(job), made_by, every_s)


def _put(run: Store, key: str, progress: "Progress", made_by: dict[str, object]) -> None:
    """By way of a file: in memory it would be another picture, which may be what fills it."""
    import torch
    from safetensors.torch import save_file

    about = {
        "made_by": made_by,
        "octaves": progress.octaves,
        "overlap_error": progress.overlap_error,
    }
    tensors = {
        "picture": progress.picture.contiguous(),
        "generator": progress.generator,
        "objective": torch.tensor(progress.objective, dtype=torch.float64),
    }
    text = json.dumps(about | {"sha256": _digest(tensors)})
    tensors["about"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint")
        save_file(tensors, path)
        run.put_file(key, path)


def _unpack(data: bytes, made_by: dict[str, object]) -> "Progress | None":
    """The progress in a checkpoint's bytes; None if they are damaged or were not made by the same."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from dreamjobs.octaves import Progress

    with suppress(SafetensorError, LookupError, TypeError, ValueError):
        tensors = load(data)
        about = json.loads(bytes(tensors.pop("about").tolist()))
        if about["made_by"] == made_by and about["sha256"] == _digest(tensors):
            objective = tuple(tensors["objective"].tolist())
            return Progress(
                about["octaves"], tensors["picture"], tensors["generator"], objective, about["overlap_error"]
            )
    return None


def _digest(tensors: Mapping[str, "Tensor"]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
