"""One picture here and now, and a dreamed picture made again from the recipe inside it."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from dreamjobs import images
from dreamjobs.errors import ImageError, NetError, NotFoundError
from dreamjobs.jobs import NO_PHOTOGRAPH, Job, Keys, Source
from dreamjobs.params import DreamParams, make_params
from dreamjobs.storage import join_url, open_store, read_url, split_url
from dreamjobs.worker.dreamer import Dreamer, Library, OnStep, best_device
from dreamjobs.worker.fetching import fetch
from dreamjobs.worker.files import encode
from dreamjobs.worker.stages import recipe

_TOLD_ERROR = 5e-5  # of the gradient: less is 0.00%


@dataclass(frozen=True)
class Reproduced:
    """A picture made again: the file, whether it is the same to the byte, and what differs from when it was made."""

    data: bytes
    same: bool
    differences: tuple[str, ...]


def one_picture(
    image: str,
    params: DreamParams,
    *,
    on_step: OnStep | None = None,
    on_note: Callable[[str], None] | None = None,
    device: str | None = None,
) -> bytes:
    """Dream one photograph (a path or `s3://` url) here and now; the picture's file as bytes, recipe inside.

    `on_note` is told what the person should know of how it was made, if there is anything.

    Raises:
        InputError, StorageError
    """
    library = Library()
    weights = library.weights(params.net, params.weights)
    url = image if image.startswith(NO_PHOTOGRAPH) else join_url(".", image)
    job = Job(1, Source(image, url), params, weights.digest, files=library.files(params, "."))
    work = Dreamer(device or best_device()).dream(job, fetch(job), weights, on_step)
    if on_note and work.overlap_error is not None and not work.overlap_error < _TOLD_ERROR:  # nor if it is not known
        known = "an unknown share" if math.isnan(work.overlap_error) else f"{work.overlap_error:.2%}"
        on_note(
            f"tiles saw less than the net does: the last octave's gradient is off by {known} of the exact one, "
            "measured on one tile; overlap=exact, or a larger tile_size, makes it exact"
        )
    return encode(job, work)


def reproduce_picture(
    picture: str,
    *,
    source: str | None = None,
    overrides: Mapping[str, object] | None = None,
    on_step: OnStep | None = None,
) -> Reproduced:
    """Make a dreamed picture again from the recipe inside it, with some parameters changed if asked.

    The recipe is untrusted input: it can name no code. It says how the photograph is called, not where it is: that
    is `source`, or what the run says that the picture lies in, or the current folder. So it is with weights that are
    a file: the run's, or `overrides`.

    Raises:
        InputError: if the picture has no recipe, or the photograph or the weights are not what they were.
        StorageError
    """
    data = read_url(picture)
    made = _recipe(picture, data)
    place = _place(picture)
    params = make_params(
        {**made.params, **_known_weights(made, place), **(overrides or {})}, trusted="net" in (overrides or {})
    )
    library = Library()
    weights = library.weights(params.net, params.weights)
    if weights.digest != made.weights_digest and not {"net", "weights"} & set(overrides or {}):
        raise NetError(f"{picture!r} was made with other weights ({made.weights_digest[:12]}); give --set weights=FILE")
    url = _photograph(made.source.image, source, place.base)
    job = Job(
        1,
        Source(made.source.image, url, made.source.size_bytes, made.source.version),
        params,
        weights.digest,
        files=library.files(params, place.base),
    )
    work = fetch(replace(job, source=Source(made.source.image, url)))
    if work.source_sha256 != made.source.sha256:
        raise ImageError(f"{url!r} is not what {picture!r} was made from; name the photograph by --source")
    work = Dreamer(best_device()).dream(job, work, weights, on_step)
    again = encode(job, work)
    return Reproduced(again, again == data, tuple(_differences(images.read_recipe(data), recipe(job, work))))


def _photograph(image: str, source: str | None, base: str) -> str:
    if image.startswith(NO_PHOTOGRAPH):
        return image
    return join_url(".", source) if source else join_url(base, image)


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
        logits = loaded.reader((loaded.output,))(picture.to(loaded.device))[loaded.output]
    likely = logits.mean((2, 3))[0].softmax(0).topk(min(top, logits.shape[1]))
    names = loaded.labels or [str(index) for index in range(logits.shape[1])]
    pairs = zip(likely.indices.tolist(), likely.values.tolist(), strict=True)
    return [Guess(names[index], probability) for index, probability in pairs]


class _RecipeSource(BaseModel):
    """The photograph that a picture was made from."""

    image: str
    size_bytes: int | None
    version: str
    sha256: str


class _Recipe(BaseModel):
    """What `recipe` wrote, as far as it is needed to make the picture again."""

    params: dict[str, Any]
    source: _RecipeSource
    weights_digest: str


@dataclass(frozen=True)
class _Place:
    """Where names in a recipe start from, and the weights known there: digest -> what `weights` was."""

    base: str
    weights: Mapping[str, str]


def _recipe(picture: str, data: bytes) -> _Recipe:
    try:
        return _Recipe.model_validate(images.read_recipe(data))
    except ValidationError as error:
        raise ImageError(f"the recipe in {picture!r} is damaged: {error}") from None


def _place(picture: str) -> _Place:
    """The run that a picture lies in, if it lies in one, else the current folder."""
    folder = split_url(picture).base
    while "/images" in folder:
        folder = folder.rpartition("/images")[0]
        with suppress(NotFoundError, ValueError, KeyError):  # a run.json of something else is no run
            record = json.loads(open_store(folder).get(Keys.RUN))
            known = {digest: key.partition("|")[2] for key, digest in record["weights"].items()}
            return _Place(record["base"], known)
    return _Place(".", {})


def _known_weights(made: _Recipe, place: _Place) -> dict[str, str]:
    found = place.weights.get(made.weights_digest)
    return {"weights": found} if found else {}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`name: before -> after` for every entry of two recipes that is not the same."""
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            yield from _differences(old, value, f"{name} ")
        elif old != value:
            yield f"{prefix}{name}: {old} -> {value}"
