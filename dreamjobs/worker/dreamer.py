"""The dream stage: a `Dreamer` holds the nets of one process, a `Library` the weights of a run.

torch is imported when something is dreamed, not before: the driver and the other stages start faster.
"""

import functools
import gc
import hashlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dreamjobs import images
from dreamjobs.errors import InputError, NotFoundError, RunError, SourceChangedError
from dreamjobs.fanout import is_wanted
from dreamjobs.images import Samples, Source
from dreamjobs.jobs import Job, NamedFile, file_names
from dreamjobs.params import DreamParams
from dreamjobs.storage import Store, exists, join_url, read_url
from dreamjobs.tiles import Box, Span
from dreamjobs.weights import Weights
from dreamjobs.worker.checkpoint import CHECKPOINT_S, Checkpoint, checkpoint
from dreamjobs.worker.fanned import Tile
from dreamjobs.worker.sequence import dream_sequence, is_sequence
from dreamjobs.worker.stages import Work, signed

if TYPE_CHECKING:
    from torch import Tensor

    from dreamjobs.fanout.climber import Ascended, Climber
    from dreamjobs.nets import Net

OnStep = Callable[[int, int], None]
"""Called with the steps done and their total."""

_NETS_KEPT = 4


class Dreamer:
    """Holds the nets of one process on one device, the last few used; dreams one picture at a time."""

    def __init__(self, device: str = "cpu", *, checkpoint_s: float = CHECKPOINT_S) -> None:
        self._device, self._checkpoint_s = device, checkpoint_s
        self._nets: dict[tuple[str, str], Net] = {}
        self._climber: tuple[str, Climber] | None = None  # the last job's

    def dream(
        self, job: Job, work: Work, weights: Weights, on_step: OnStep | None = None, run: Store | None = None
    ) -> Work:
        """The work with its photo dreamed; the number of threads is the job's, because it changes bytes.

        A sequence needs `run`, where its pictures are put as they are made. Of one picture that takes long, finished
        octaves are kept there, and one that was begun before goes on.

        Raises:
            RunError: for a sequence without `run`.
        """
        import torch

        begun = time.perf_counter()
        torch.set_num_threads(job.params.threads)
        net, made = self.net(job.params.net, weights), [_Dreamed(work.photo, work.objective)]
        kept = self._checkpoint(job, work, run)

        def one(photo: Source | None, params: DreamParams, number: int) -> Source:
            made.append(_dream_photo(photo, net, params, reader(job.files), on_step, kept))
            return made[-1].photo

        if not is_sequence(job):
            none = job.source.is_noise
            fanned = not none and is_wanted(job.params, work.photo.size)
            photo = one(None if none else work.photo, job.params, 1)
            work = replace(work, photo=photo, little=None, is_fanned=fanned)
        elif run is None:
            raise RunError("a sequence of pictures needs a run to keep them in: `dreamjobs manifest`, `dreamjobs run`")
        else:
            work = dream_sequence(job, work, run, one)
        seconds = replace(work.seconds, dream=time.perf_counter() - begun)
        work = replace(work, objective=made[-1].objective, overlap_error=made[-1].overlap_error)
        left = kept.key if kept and kept.is_there else ""
        return signed(replace(work, checkpoint=left, device=self.device, seconds=seconds))

    def _checkpoint(self, job: Job, work: Work, run: Store | None) -> Checkpoint | None:
        """Where octaves are kept; nowhere without a run, nor for a sequence, which keeps its pictures."""
        if run is None or is_sequence(job):
            return None
        return checkpoint(job, work, run, device=self.device, every_s=self._checkpoint_s)

    def net(self, name: str, weights: Weights) -> "Net":
        """The net, loaded at its first use."""
        from dreamjobs.nets import Net

        key = (name, weights.digest)
        net = self._nets.pop(key, None) or Net(name, weights, self._device)
        self._nets[key] = net  # last used, last dropped
        while len(self._nets) > _NETS_KEPT:
            del self._nets[next(iter(self._nets))]
            gc.collect()  # a net and its readers hold each other, and memory that Python would not find for long
        return net

    def check(self, params: DreamParams, weights: Weights, files: Sequence[NamedFile]) -> None:
        """Raise NetError, ObjectiveError or ImageError if these parameters ask for what net or files lack."""
        from dreamjobs.fanout.check import check_objective
        from dreamjobs.octaves import check

        net, read = self.net(params.net, weights), reader(files)
        check_objective(net, params, read)  # first, for it may refuse what takes a minute to load
        check(net, params, read)

    def ascend(self, job: Job, tile: Tile, weights: Weights) -> "Ascended":
        """One round of one tile of a fanned-out picture."""
        import torch

        from dreamjobs.fanout.climber import Climber

        torch.set_num_threads(job.params.threads)
        if self._climber is None or self._climber[0] != job.id:
            net = self.net(job.params.net, weights)
            self._climber = job.id, Climber(net, job.params, tile.little, reader(job.files))
        return self._climber[1].ascend(tile.crop, tile.task, tile.strengths)

    @functools.cached_property
    def device(self) -> str:
        """The device in words: `cpu`, or the graphics card's name."""
        if not self._device.startswith("cuda"):
            return self._device
        import torch

        return str(torch.cuda.get_device_name(self._device))


def reader(files: Sequence[NamedFile]) -> Callable[[str], bytes]:
    """Reads files by the names that parameters have for them.

    Raises:
        SourceChangedError: if one is no longer what the job's id stands for.
    """
    by_name = {file.name: file for file in files}

    def read(name: str) -> bytes:
        file = by_name[name]
        data = read_url(file.url)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise SourceChangedError(f"{file.url!r} changed since the run began; run again with --extend")
        return data

    return read


def _places(name: str, base: str) -> Iterator[str]:
    with suppress(InputError):  # what climbs out of a bucket
        yield join_url(base, name)
    yield join_url(".", name)


@dataclass(frozen=True, eq=False)
class _Dreamed:
    """A dreamed photo, the objective before each step, and the error of its gradient where that is known."""

    photo: Source
    objective: tuple[float, ...]
    overlap_error: float | None = None


def _dream_photo(
    photo: Source | None,
    net: "Net",
    params: DreamParams,
    read: Callable[[str], bytes],
    on_step: OnStep | None,
    kept: Checkpoint | None,
) -> _Dreamed:
    """The photo dreamed, None being noise; from where it was kept, and kept as it goes."""
    from dreamjobs.fanout.dream import dream as dream_by_tiles
    from dreamjobs.octaves import dream

    if photo and is_wanted(params, photo.size):
        dreamed = dream_by_tiles(photo, net, params, read=read, on_step=on_step)
    else:
        picture = None if photo is None else _as_picture(photo)
        resume, on_octave = (kept.load(), kept.keep) if kept else (None, None)
        dreamed = dream(picture, net, params, read=read, on_step=on_step, on_octave=on_octave, resume=resume)
    made = Samples(dreamed.picture[0].permute(1, 2, 0).numpy(), None, None, "png")
    if photo:  # transparency stays where the picture still has its size
        alpha = photo.alpha if made.size == photo.size else None
        made = replace(made, alpha=alpha, exif=photo.exif, format=photo.format)
    # In the 8 bits that it is written in, if nothing is lost by that: a quarter of what else would travel.
    return _Dreamed(images.rounded(made), dreamed.objective, dreamed.overlap_error)


def _as_picture(source: Source) -> "Tensor":
    """All of a photograph as a picture (1, 3, h, w); not to be written to, for it may lie in the same memory."""
    import torch

    samples = source.window(Box(Span(0, source.size[0]), Span(0, source.size[1])))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # as those are that ray hands over
        return torch.from_numpy(samples)[None]


def best_device() -> str:
    """`cuda` where there is a graphics card, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Library:
    """Weights by (net, weights), each fetched once for a run."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str], Weights] = {}
        self._files: dict[str, NamedFile] = {}

    def weights(self, net: str, weights: str) -> Weights:
        """The blob, from the package, a file, S3 or torchvision's server.

        Raises:
            NetError, NotFoundError, AccessError, StorageError
        """
        key = (net, weights)
        if key not in self._weights:
            from dreamjobs.nets import fetch_weights  # and torch, which a driver that has the weights needs not

            self._weights[key] = fetch_weights(net, weights, read_url)
        return self._weights[key]

    def digest(self, net: str, weights: str) -> str:
        """The digest that is part of a job's identity."""
        return self.weights(net, weights).digest

    def files(self, params: DreamParams, base: str) -> tuple[NamedFile, ...]:
        """The files that parameters name, looked for from the folder `base` and then from the current one.

        Raises:
            NotFoundError, AccessError, StorageError
        """
        for name in file_names(params):
            if name not in self._files:
                url = next((url for url in _places(name, base) if exists(url)), None)
                if url is None:
                    places = "the current folder" if base == "." else f"{base!r} nor in the current folder"
                    raise NotFoundError(f"there is no file {name!r} in {places}")
                self._files[name] = NamedFile(name, url, hashlib.sha256(read_url(url)).hexdigest())
        return tuple(self._files[name] for name in file_names(params))

    def named_files(self) -> list[NamedFile]:
        """Every file asked for so far, by name."""
        return [self._files[name] for name in sorted(self._files)]

    def digests(self) -> dict[str, str]:
        """Every digest asked for so far, by `net|weights`."""
        return {f"{net}|{name}": weights.digest for (net, name), weights in self._weights.items()}
