"""The dream stage: a `Dreamer` holds the nets of one process, a `Library` the weights of a run.

torch is imported when something is dreamed, not before: the driver and the other stages start faster.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dreamjobs.jobs import Job
from dreamjobs.params import DreamParams
from dreamjobs.storage import read_url
from dreamjobs.worker.stages import Work

if TYPE_CHECKING:
    from dreamjobs.nets import Net, Weights

OnStep = Callable[[int, int], None]
"""Called with the steps done and their total."""

_NETS_KEPT = 4


class Dreamer:
    """Holds the nets of one process on one device, the last few used; dreams one picture at a time."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._nets: dict[tuple[str, str], Net] = {}

    def dream(self, job: Job, work: Work, weights: "Weights", on_step: OnStep | None = None) -> Work:
        """The work with its photo dreamed; the number of threads is the job's, because it changes bytes."""
        import numpy as np
        import torch

        from dreamjobs.octaves import dream

        begun = time.perf_counter()
        torch.set_num_threads(job.params.threads)
        picture = torch.tensor(work.photo.pixels).permute(2, 0, 1)[None]
        dreamed = dream(picture, self.net(job.params.net, weights), job.params, on_step=on_step)
        pixels = np.ascontiguousarray(dreamed.picture[0].permute(1, 2, 0).numpy())
        return replace(
            work,
            photo=replace(work.photo, pixels=pixels),
            objective=dreamed.objective,
            device=self.device,
            seconds=replace(work.seconds, dream=time.perf_counter() - begun),
        )

    def net(self, name: str, weights: "Weights") -> "Net":
        """The net, loaded at its first use."""
        from dreamjobs.nets import Net

        key = (name, weights.digest)
        net = self._nets.pop(key, None) or Net(name, weights, self._device)
        self._nets[key] = net  # last used, last dropped
        while len(self._nets) > _NETS_KEPT:
            del self._nets[next(iter(self._nets))]
        return net

    def check(self, params: DreamParams, weights: "Weights") -> None:
        """Raise NetError or ObjectiveError if these parameters ask for what the net lacks."""
        from dreamjobs.octaves import prepare

        prepare(self.net(params.net, weights), params)

    @functools.cached_property
    def device(self) -> str:
        """The device in words: `cpu`, or the graphics card's name."""
        if not self._device.startswith("cuda"):
            return self._device
        import torch

        return str(torch.cuda.get_device_name(self._device))


def best_device() -> str:
    """`cuda` where there is a graphics card, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Library:
    """Weights by (net, weights), each fetched once for a run."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str], Weights] = {}

    def weights(self, net: str, weights: str) -> "Weights":
        """The blob, from the package, a file, S3 or torchvision's server.

        Raises:
            NetError, NotFoundError, AccessError, StorageError
        """
        from dreamjobs.nets import fetch_weights

        key = (net, weights)
        if key not in self._weights:
            self._weights[key] = fetch_weights(net, weights, read_url)
        return self._weights[key]

    def digest(self, net: str, weights: str) -> str:
        """The digest that is part of a job's identity."""
        return self.weights(net, weights).digest

    def digests(self) -> dict[str, str]:
        """Every digest asked for so far, by `net|weights`."""
        return {f"{net}|{name}": weights.digest for (net, name), weights in self._weights.items()}
