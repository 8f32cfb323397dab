"""One picture here and now, and a dreamed picture made again from the recipe inside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dreamjobs import images
from dreamjobs.errors import ImageError
from dreamjobs.jobs import Job, Source
from dreamjobs.params import DreamParams, make_params
from dreamjobs.storage import join_url, read_url
from dreamjobs.worker.dreamer import Dreamer, Library, OnStep, best_device
from dreamjobs.worker.stages import encode, fetch, recipe


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
    return encode(job, work)[1]


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
    again = encode(job, work)[1]
    return Reproduced(again, again == data, tuple(_differences(made, recipe(job, work))))


@dataclass(frozen=True)
class Guess:
    """A class that a net sees in a picture, and how likely it holds it to be, in [0, 1]."""

    label: str
    probability: float


def classify_picture(image: str, net: str, weights: str, top: int) -> list[Guess]:
    """The most likely classes of a photograph, likeliest first, seen as ImageNet's nets are tested.

    The shorter side is brought to 256 pixels and the middle 224 x 224 are looked at.

    Raises:
        InputError, StorageError
    """
    import torch
    from torchvision.transforms.v2 import functional

    photo = images.decode(read_url(image))
    picture = torch.tensor(photo.pixels).permute(2, 0, 1)[None]
    picture = functional.center_crop(functional.resize(picture, [256], antialias=True), [224, 224])
    loaded = Dreamer(best_device()).net(net, Library().weights(net, weights))
    with torch.no_grad():
        logits = loaded.reader((loaded.class_layer,))(picture.to(loaded.device))[loaded.class_layer]
    likely = logits.mean((2, 3))[0].softmax(0).topk(min(top, logits.shape[1]))
    names = loaded.labels or [str(index) for index in range(logits.shape[1])]
    pairs = zip(likely.indices.tolist(), likely.values.tolist(), strict=True)
    return [Guess(names[index], probability) for index, probability in pairs]


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
