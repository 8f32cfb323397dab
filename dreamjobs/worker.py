"""One job's stages, in whatever process they run; no ray.

    fetch: read and decode the photograph -> Work
    dream: Work -> Work with the dreamed pixels, by a Dreamer, which holds the nets
    store: encode with the recipe inside, put under RUN -> Artifact

`attempt` is the one place that catches everything: a stage that fails becomes a `Failure`, and the run goes on. The
fetch and store stages do not import torch.
"""

import functools
import hashlib
import importlib.metadata
import platform
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dreamjobs import images
from dreamjobs.errors import ImageError, is_retryable
from dreamjobs.images import Photo
from dreamjobs.jobs import ALGORITHM, Artifact, Failure, Job, Keys, Seconds, Source
from dreamjobs.params import DreamParams, make_params
from dreamjobs.storage import Store, join_url, read_url

if TYPE_CHECKING:  # nets import torch, which the fetch and store stages do without
    from dreamjobs.nets import Net, Weights

OnStep = Callable[[int, int], None]
"""Called with the steps done and their total."""

_MESSAGE_LENGTH = 2000
_NETS_KEPT = 4


@dataclass(frozen=True)
class Work:
    """A picture on its way, and what is known of it so far."""

    photo: Photo
    source_sha256: str
    source_size: tuple[int, int]
    seconds: Seconds
    objective: tuple[float, ...] = ()
    device: str = ""


@dataclass(frozen=True)
class Result:
    """What a stage came to: a value, or why there is none."""

    value: Any = None
    failure: Failure | None = None


def attempt(stage: Callable[..., Any], *args: Any) -> Result:
    """The stage's value, or its failure; nothing but an interrupt gets past."""
    try:
        return Result(value=stage(*args))
    except Exception as error:  # whatever one job meets must not end the others
        return Result(failure=as_failure(error))


def as_failure(error: BaseException) -> Failure:
    """An exception as a value: its type and message, and the traceback where it was no fault of the input."""
    retryable = is_retryable(error)
    trace = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, str(error)[:_MESSAGE_LENGTH] or repr(error), retryable, trace)


def fetch(job: Job) -> Work:
    """Read, decode and shrink the job's photograph.

    Raises:
        ImageError, NotFoundError, AccessError, StorageError
    """
    begun = time.perf_counter()
    data = read_url(job.source.url)
    read = time.perf_counter()
    photo = images.decode(data)
    size = (photo.height, photo.width)
    photo = images.fit(photo, job.params.max_side)
    seconds = Seconds(fetch=read - begun, decode=time.perf_counter() - read)
    return Work(photo, hashlib.sha256(data).hexdigest(), size, seconds)


def store(job: Job, work: Work, run: Store) -> Artifact:
    """Encode the dreamed picture, recipe inside, and put it at the key that follows from the job.

    Raises:
        StorageError, AccessError
    """
    begun = time.perf_counter()
    kind, data = _encode(job, work)
    encoded = time.perf_counter()
    key = Keys.picture(job, images.extension(kind))
    run.put(key, data)
    seconds = replace(work.seconds, encode=encoded - begun, put=time.perf_counter() - encoded)
    return Artifact(
        key=key,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        width=work.photo.width,
        height=work.photo.height,
        source_width=work.source_size[1],
        source_height=work.source_size[0],
        objective=work.objective,
        seconds=seconds,
        device=work.device,
        node=socket.gethostname(),
    )


def _encode(job: Job, work: Work) -> tuple[str, bytes]:
    """The format and the bytes of the picture's file."""
    kind = images.output_format(job.params.format, work.photo.format)
    return kind, images.encode(work.photo, format=kind, quality=job.params.quality, recipe=recipe(job, work))


def recipe(job: Job, work: Work) -> dict[str, object]:
    """All that is needed to make a picture again, as it is embedded in the file; no times, so that bytes repeat."""
    return {
        "program": "dreamjobs",
        "job": job.id,
        "algorithm": ALGORITHM,
        "params": job.params.model_dump(),
        "source": {**asdict(job.source), "sha256": work.source_sha256},
        "weights_digest": job.weights_digest,
        "device": work.device,
        "versions": versions(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """The versions of everything that has a part in a picture's bytes."""
    names = ("dreamjobs", "torch", "torchvision", "numpy", "pillow", "pillow-heif")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


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


@dataclass(frozen=True)
class Reproduced:
    """A picture made again: the file, whether it is the same to the byte, and what differs from when it was made."""

    data: bytes
    same: bool
    differences: tuple[str, ...]


def one_picture(image: str, params: DreamParams, *, on_step: OnStep | None = None, device: str | None = None) -> bytes:
    """Dream one photograph (a path or `s3://` url) here and now; the picture's file as bytes, recipe inside.

    Raises:
        InputError, StorageError
    """
    weights = Library().weights(params.net, params.weights)
    job = Job(1, Source(image, join_url(".", image)), params, weights.digest)
    work = Dreamer(device or best_device()).dream(job, fetch(job), weights, on_step)
    return _encode(job, work)[1]


def reproduce_picture(
    picture: str,
    *,
    source: str | None = None,
    overrides: Mapping[str, object] | None = None,
    on_step: OnStep | None = None,
) -> Reproduced:
    """Make a dreamed picture again from the recipe inside it, with some parameters changed if asked.

    The recipe is untrusted input: it can name no code. `source` says where the photograph is now.

    Raises:
        InputError: if the picture has no recipe, or the photograph or weights are not what they were.
        StorageError
    """
    data = read_url(picture)
    made = images.read_recipe(data)
    job, sha256 = _job_of(picture, made, overrides or {})
    found = replace(job, source=replace(job.source, url=join_url(".", source))) if source else job
    work = fetch(found)
    if work.source_sha256 != sha256:
        raise ImageError(f"{found.source.url!r} is not what {picture!r} was made from; name the photograph by --source")
    weights = Library().weights(job.params.net, job.params.weights)
    work = Dreamer(best_device()).dream(job, work, weights, on_step)
    again = _encode(job, work)[1]
    return Reproduced(again, again == data, tuple(_differences(made, recipe(job, work))))


def _job_of(picture: str, made: Mapping[str, Any], overrides: Mapping[str, object]) -> tuple[Job, str]:
    """The job that a recipe describes, with some parameters changed, and its photograph's digest."""
    try:
        params = make_params({**made["params"], **overrides}, trusted="net" in overrides)
        source = dict(made["source"])
        sha256 = str(source.pop("sha256"))
        weights = Library().weights(params.net, params.weights)
        return Job(1, Source(**source), params, weights.digest), sha256
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(f"the recipe in {picture!r} is damaged: {error!r}") from None


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`name: before -> after` for every entry of two recipes that is not the same."""
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            yield from _differences(old, value, f"{name} ")
        elif old != value:
            yield f"{prefix}{name}: {old} -> {value}"
