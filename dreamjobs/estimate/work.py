"""How much work a job is, before it is done: pictures, megapixel-steps, and what its dream is timed by.

A megapixel-step is a step over a million pixels of an octave. A dream's time is taken to be linear in four amounts
(`Amounts`): pictures, passes (calls of the net: one a step and tile), megapixels seen by the net (as megapixel-steps,
but a tile counts with the halo it is cut with), and megapixels of a sequence's pictures put and read again on the way.
"""

import functools
import itertools
from dataclasses import dataclass

import torch

from dreamjobs import images, tiles
from dreamjobs.estimate.photographs import Photographs, Size
from dreamjobs.fanout import is_wanted, make_plan
from dreamjobs.jobs import NO_PHOTOGRAPH, Job, NamedFile
from dreamjobs.octaves import Goal, prepare
from dreamjobs.octaves.start import parse_size
from dreamjobs.params import DreamParams
from dreamjobs.sizes import octave_sizes
from dreamjobs.worker import Dreamer, Library
from dreamjobs.worker.clip import is_clip
from dreamjobs.worker.dreamer import reader
from dreamjobs.worker.sequence import is_sequence

_ROUNDED = 32  # pixels; pictures of nearly one size are cut alike
_FIRST_PASS = 1 / 3  # a forward pass alone, over forward and backward


@dataclass(frozen=True)
class Kind:
    """Dreams that take the same time for the same amounts: what is computed, apart from sizes and numbers."""

    net: str
    weights_digest: str
    layers: str
    threads: int
    shaping: str

    @property
    def key(self) -> str:
        """The kind as text, the net's name left out: weights decide."""
        return f"{self.weights_digest[:16]}|{self.layers}|{self.threads}|{self.shaping}"


@dataclass(frozen=True)
class Amounts:
    """What a dream's time is linear in."""

    pictures: float
    passes: float
    seen_megapixels: float
    frame_megapixels: float = 0.0

    @property
    def row(self) -> tuple[float, float, float, float]:
        """As numbers, in the order of a rate's coefficients."""
        return self.pictures, self.passes, self.seen_megapixels, self.frame_megapixels


@dataclass(frozen=True)
class JobWork:
    """A job's kind and amounts, and what goes in and comes out; sizes are megapixels."""

    kind: Kind
    amounts: Amounts
    pictures: int
    megapixel_steps: float
    source_kind: str
    source_megapixels: float
    format: str
    megapixels: float
    written_megapixels: float


class Weigher:
    """Tells how much work jobs are; holds the nets, whose layers say how a picture is cut."""

    def __init__(self, library: Library) -> None:
        self.photographs = Photographs()
        self._library, self._dreamer = library, Dreamer()
        self._ways = functools.lru_cache(maxsize=4096)(self._prepare)
        self._pass = functools.lru_cache(maxsize=65_536)(_one_pass)

    def weigh(self, job: Job) -> JobWork:
        """What a job takes, its photograph not read."""
        params, pictures = job.params, self._pictures(job)
        source = (0, 0) if job.source.url.startswith(NO_PHOTOGRAPH) else self.photographs.size(job.source)
        ways = self.ways(params, job.files)
        views = _views(_picture_size(source, params), params, ways)
        amounts, steps = self._amounts(ways, views, params)
        last = _megapixels(views[-1].size)
        frames = pictures * last if is_sequence(job) else 0.0
        kind = Kind(params.net, job.weights_digest, _layers(ways), params.threads, _shaping(params))
        ending = job.source.image.rpartition(".")[2].lower()
        video = is_sequence(job) and params.video != "none"
        return JobWork(
            kind=kind,
            amounts=Amounts(pictures, pictures * amounts.passes, pictures * amounts.seen_megapixels, frames),
            pictures=pictures,
            megapixel_steps=pictures * steps,
            source_kind="" if job.source.url.endswith("/") else ending,
            source_megapixels=_megapixels(source),
            format=f"{params.video} video" if video else _format(params, ending),
            megapixels=last,
            written_megapixels=last * (pictures if video else 1),
        )

    def ways(self, params: DreamParams, files: tuple[NamedFile, ...]) -> "tuple[Way, ...]":
        """How each octave's gradient is taken; prepared once for each net, objective and size of tiles."""
        names = ("net", "weights", "objective", "labels", "tile_size", "overlap", "precision")
        return self._ways(DreamParams(**{name: getattr(params, name) for name in names}), files)

    def _prepare(self, params: DreamParams, files: tuple[NamedFile, ...]) -> "tuple[Way, ...]":
        net = self._dreamer.net(params.net, self._library.weights(params.net, params.weights))
        goals = prepare(net, params, torch.full((1, 3, 64, 64), 0.5), reader(files))
        return tuple(Way(goal, _uncut_side(goal)) for goal in goals)

    def _pictures(self, job: Job) -> int:
        """How many pictures: `frames`; of a clip no more than it has, and all where that says nothing."""
        if not is_clip(job):
            return job.params.frames
        there = self.photographs.frames(job.source.url)
        return min(job.params.frames, there) if job.params.frames > 1 else there

    def _amounts(self, ways: "tuple[Way, ...]", views: "list[_View]", params: DreamParams) -> tuple[Amounts, float]:
        """The amounts of one picture, and its megapixel-steps."""
        passes = seen = steps = 0.0
        for way, view in zip(itertools.chain(ways, itertools.repeat(ways[-1])), views, strict=False):
            for size in view.crops:
                cut = self._pass(way, _rounded(size)) if max(size) > way.uncut_side else _UNCUT
                passes += params.steps * cut.tiles
                seen += params.steps * _megapixels(size) * cut.seen
            steps += params.steps * _megapixels(view.size)
        return Amounts(1, passes, seen), steps


@dataclass(frozen=True, eq=False)
class Way:
    """A goal, and the longest side in pixels that is certainly not cut for it."""

    goal: Goal
    uncut_side: int


@dataclass(frozen=True)
class _Pass:
    """A gradient of a picture: calls of the net, and pixels seen for each of the picture's."""

    tiles: int
    seen: float


_UNCUT = _Pass(1, 1.0)


def _one_pass(way: Way, size: Size) -> _Pass:
    """How a picture of this size is cut."""
    goal = way.goal
    cut = goal.cut(*size)
    seen = sum(tile.crop.height * tile.crop.width for tile in cut) / (size[0] * size[1])
    twice = len(cut) > 1 and (goal.bound.sums or goal.reader.read_by_head)
    return _Pass(len(cut), seen * (1 + _FIRST_PASS if twice else 1))


def _uncut_side(goal: Goal) -> int:
    least = max(64, goal.reader.least_side)
    align = max(tiles.alignment([layer.field for layer in goal.reader.tiling_layers(least, least).values()]))
    return goal.params.tile_size // align * align


@dataclass(frozen=True)
class _View:
    """An octave: its size, and the sizes of what its gradient is taken of at each step."""

    size: Size
    crops: list[Size]


def _views(size: Size, params: DreamParams, ways: tuple[Way, ...]) -> list[_View]:
    """The octaves of a picture; where it is fanned out, its tiles overlap."""
    if is_wanted(params, size):
        octaves = make_plan(params, size).octaves
        return [_View(one.size, [one.view] * len(one.tiles)) for one in octaves]
    least = max(way.goal.reader.least_side for way in ways)
    sizes = octave_sizes((max(size[0], least), max(size[1], least)), params, least)
    return [_View(one, [one]) for one in sizes]


def _picture_size(source: Size, params: DreamParams) -> Size:
    """The size that a dream begins from: the photograph's, shrunk as `images.fit` does, or that of the noise."""
    if params.start in ("noise", "natural") and params.size:
        return parse_size(params.size)
    longer = max(source)
    if params.max_side is None or longer <= params.max_side:
        return source
    height, width = (max(1, round(side * params.max_side / longer)) for side in source)
    return height, width


def _rounded(size: Size) -> Size:
    height, width = (round(side / _ROUNDED) * _ROUNDED for side in size)
    return height, width


def _layers(ways: tuple[Way, ...]) -> str:
    """The layers that each octave's goal reads; terms of the pixels stand with their names."""
    return " | ".join(dict.fromkeys(" + ".join(_read(way.goal)) for way in ways))


def _read(goal: Goal) -> list[str]:
    names = [*goal.bound.layers, *(type(term).__name__.lower().removesuffix("term") for term in goal.bound.pixels)]
    sums = [f"{term.layer} summed" for term in goal.bound.sums]
    return [*(name for name in dict.fromkeys(names) if f"{name} summed" not in sums), *dict.fromkeys(sums)]


def _shaping(params: DreamParams) -> str:
    """What else is computed for a step, in words; empty for the defaults."""
    parts = {
        params.optimizer: params.optimizer != "ascent",
        params.precision: params.precision != "float32",
        f"laplacian {params.laplacian_levels}": params.normalize == "laplacian",
        "smoothing": bool(params.smoothing or params.smoothing_growth),
        "moves": bool(params.jitter_scale or params.jitter_rotate),
        "mask": params.mask is not None,
    }
    return ", ".join(name for name, there in parts.items() if there)


def _format(params: DreamParams, ending: str) -> str:
    source = {"jpg": "jpeg", "jpe": "jpeg", "mpo": "jpeg", "tif": "tiff", "heif": "heic"}.get(ending, ending)
    return images.output_format(params.format, source)


def _megapixels(size: Size) -> float:
    return size[0] * size[1] / 1e6
