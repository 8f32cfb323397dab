"""Can one see where a picture was cut? Dreams by tiles beside the same dream uncut.

    python benchmarks/seams.py --photos DIR [--nets dreamnet:mix8c squeezenet1_0:features.9=FILE] [--side 1280]
    python benchmarks/seams.py --photos DIR --save OUT    # the pictures too, and the tile lines at 1:1

Each photograph is enlarged to `--side`, a drawn sky beside busy ground is added, and all are dreamed uncut, by exact
tiles, fanned out with syncs every step, every half octave and none, fanned out in one tile, and uncut by another seed:
a dream is chaotic, and what differs between two seeds is no seam. `--seeds` takes the mean of each line, tile and
picture over so many seeds: a seam is at the same place in all of them. Printed for each, relative to the same dream
uncut (for what is fanned out, that is the one in one tile), and at the end for all pictures together:

seam       step across a tile line over the steps beside it: mean of all lines, and the line where it is farthest from 1
loudness   RMS of what was dreamed, in the quietest and the loudest tile
sharpness  high-frequency energy within the overlaps over that outside

The 64 pixels at the picture's edge are left out of the last two: there the two ways differ by design.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs import images, load_net, octaves
from dreamjobs.fanout import dream as fan_out
from dreamjobs.fanout import make_plan
from dreamjobs.images import Photo
from dreamjobs.params import make_params
from dreamjobs.tiles import Box, Span

BESIDE = range(3, 20)  # pixels from a line
EDGE = 64  # pixels
ONE_TILE = "fanned out, one tile"


@dataclass(frozen=True)
class Cut:
    """Where a picture was cut: what each tile owns, and over how many pixels on either side tiles are blended."""

    boxes: list[Box]
    ramp: int

    def lines(self, axis: str) -> list[int]:
        """Rows (`y`) or columns (`x`) at which a tile begins."""
        return sorted({getattr(box, axis).start for box in self.boxes} - {0})


def photographs(folders: list[str], side: int) -> Iterator[tuple[str, Photo]]:
    for path in sorted(path for folder in folders for path in Path(folder).iterdir()):
        if images.is_picture(path.name):
            photo = images.decode(path.read_bytes())
            scale = side / max(photo.height, photo.width)
            size = [round(photo.height * scale), round(photo.width * scale)]
            yield path.stem, as_photo(F.interpolate(as_tensor(photo), size, mode="bicubic", antialias=True).clamp(0, 1))
    yield "drawn sky", sky(side)


def sky(side: int) -> Photo:
    """A smooth sky on the left, busy ground on the right: tiles of very unequal gradients."""
    height = side * 3 // 4
    y, x = np.mgrid[:height, :side]
    smooth = np.stack([0.55 + 0.2 * y / height, 0.65 + 0.15 * y / height, 0.85 + 0.05 * x / side], 2)
    noise = np.random.default_rng(0).random((height // 4 + 1, side // 4 + 1, 3)).repeat(4, 0).repeat(4, 1)
    ground = 0.15 + 0.7 * noise[:height, :side]
    share = 1 / (1 + np.exp(-(x - side * 0.55) / 8))[..., None]
    return Photo(np.ascontiguousarray(smooth + share * (ground - smooth), np.float32), None, None, "png")


def as_tensor(photo: Photo) -> Tensor:
    return torch.tensor(photo.pixels).permute(2, 0, 1)[None]


def as_photo(picture: Tensor) -> Photo:
    return Photo(np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy()), None, None, "png")


def step_ratio(picture: Tensor, line: int, dim: int) -> float:
    """The mean step across a line over the mean of those beside it."""
    steps = picture.diff(dim=dim).abs().transpose(dim, 0).flatten(1).mean(1)
    beside = torch.cat([steps[[line - 1 + k for k in BESIDE]], steps[[line - 1 - k for k in BESIDE]]])
    return float(steps[line - 1] / beside.mean())


def seams(picture: Tensor, uncut: Tensor, cut: Cut) -> list[float]:
    """For each tile line, the step across it over the step there in the dream uncut."""
    lines = [(line, dim) for axis, dim in (("y", 2), ("x", 3)) for line in cut.lines(axis)]
    return [step_ratio(picture, *line) / step_ratio(uncut, *line) for line in lines]


def loudness(picture: Tensor, uncut: Tensor, base: Tensor, cut: Cut) -> list[float]:
    def rms(dreamed: Tensor, box: Box) -> float:
        return float((dreamed - base)[..., *_inner(box, base).slices].square().mean().sqrt())

    return [rms(picture, box) / rms(uncut, box) for box in cut.boxes]


def sharpness(picture: Tensor, cut: Cut) -> float:
    """High-frequency energy within the overlaps over that outside."""
    fine = (picture - F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, 1)).square().mean((0, 1))
    inside = torch.zeros_like(fine, dtype=torch.bool)
    width = max(cut.ramp, 8)
    for line in cut.lines("y"):
        inside[line - width : line + width] = True
    for line in cut.lines("x"):
        inside[:, line - width : line + width] = True
    inner = _inner(Box(Span(0, fine.shape[0]), Span(0, fine.shape[1])), picture).slices
    fine, inside = fine[inner], inside[inner]
    return float(fine[inside].mean() / fine[~inside].mean())


def _inner(box: Box, picture: Tensor) -> Box:
    """A box but for the picture's edge, which tiles see mirrored and a picture alone sees joined to the other one."""
    height, width = picture.shape[2:]
    return box.shared(Box(Span(EDGE, height - EDGE), Span(EDGE, width - EDGE)))


@dataclass(frozen=True)
class Asked:
    """A net, the layer to dream, and weights: `net:layer=weights`."""

    net: str
    layer: str
    weights: str

    @classmethod
    def parse(cls, text: str) -> "Asked":
        names, _, weights = text.partition("=")
        net, _, layer = names.partition(":")
        return cls(net, layer, weights or "default")


def dreams(photo: Photo, args: argparse.Namespace, seed: int, asked: Asked) -> Iterator[tuple[str, Tensor, Cut]]:
    """How it was dreamed, the dream, and how it was cut; the first is uncut."""
    net, picture = load_net(asked.net, asked.weights), as_tensor(photo)
    common = {"net": asked.net, "objective": asked.layer, "steps": args.steps, "seed": seed}
    fanned = {"fan_out_mpx": 0.0, "fan_out_tile": args.tile, "fan_out_overlap": args.overlap}
    plan = make_plan(make_params(common | fanned), (photo.height, photo.width))
    fan_cut = Cut([tile.owned for tile in plan.octaves[-1].tiles], plan.ramp)
    whole = make_params(common | {"tile_size": 65_536})
    yield "uncut", octaves.dream(picture, net, whole).picture, fan_cut
    other = whole.model_copy(update={"seed": seed + args.seeds})
    yield "uncut, another seed", octaves.dream(picture, net, other).picture, fan_cut
    exact = make_params(common | {"tile_size": args.tile})
    goal = octaves.prepare(net, exact, picture)[-1]
    yield (
        "exact tiles",
        octaves.dream(picture, net, exact).picture,
        Cut([t.owned for t in goal.cut(*picture.shape[2:])], 0),
    )
    one = make_params(common | fanned | {"fan_out_tile": 65_536})
    yield ONE_TILE, fan_out.dream(photo, net, one).picture, fan_cut
    for sync in args.syncs or (1, max(1, args.steps // 2), args.steps):
        params = make_params(common | fanned | {"sync_steps": sync})
        yield f"fanned out, sync_steps {sync}", fan_out.dream(photo, net, params).picture, fan_cut


@dataclass(frozen=True)
class Seen:
    """What was measured of one dream, or of several."""

    seams: list[float]
    loudness: list[float]
    sharpness: list[float]

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(self.seams + other.seams, self.loudness + other.loudness, self.sharpness + other.sharpness)

    @classmethod
    def mean(cls, several: Sequence["Seen"]) -> "Seen":
        """The geometric mean, line by line and tile by tile, of the same picture dreamed by several seeds."""
        return cls(
            *(
                np.exp(np.log([getattr(seen, name) for seen in several]).mean(0)).tolist()
                for name in ("seams", "loudness", "sharpness")
            )
        )

    def figures(self) -> dict[str, object]:
        """Means are geometric, since all are ratios."""
        return {
            "seam": round(float(np.exp(np.log(self.seams).mean())), 3),
            "worst_seam": round(max(self.seams, key=lambda ratio: abs(np.log(ratio))), 3),
            "loudness": [round(min(self.loudness), 3), round(max(self.loudness), 3)],
            "sharpness": round(float(np.exp(np.log(self.sharpness).mean())), 3),
            "lines": len(self.seams),
        }


def compare(photo: Photo, args: argparse.Namespace, seed: int, asked: Asked) -> Iterator[tuple[str, Seen, Tensor]]:
    base, uncut = as_tensor(photo), None
    for how, picture, cut in dreams(photo, args, seed, asked):
        if uncut is None:
            uncut = picture
            continue
        sharp = sharpness(picture, cut) / sharpness(uncut, cut)
        yield how, Seen(seams(picture, uncut, cut), loudness(picture, uncut, base, cut), [sharp]), picture
        if how == ONE_TILE:
            uncut = picture  # what follows is cut, and differs from this in nothing else


def save(folder: str, name: str, picture: Tensor) -> None:
    os.makedirs(folder, exist_ok=True)
    data = images.encode(as_photo(picture), format="png", quality=95, recipe={})
    Path(folder, f"{name}.png").write_bytes(data)


def say(photo: str, net: str, how: str, seen: Seen) -> None:
    print(json.dumps({"photo": photo, "net": net.partition("=")[0], "how": how} | seen.figures()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs="*", default=[])
    parser.add_argument("--nets", nargs="+", default=["dreamnet:mix8c"], help="net:layer, or net:layer=weights")
    parser.add_argument("--side", type=int, default=1280)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--syncs", type=int, nargs="+", help="sync_steps: 1, half of the steps and all, if not given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", metavar="DIR")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    together: dict[tuple[str, str], Seen] = {}
    for name, photo in photographs(args.photos, args.side):
        for net in args.nets:
            by_way: dict[str, list[Seen]] = {}
            for seed in range(args.seeds):
                for how, seen, picture in compare(photo, args, seed, Asked.parse(net)):
                    by_way.setdefault(how, []).append(seen)
                    if args.save and seed == 0:
                        save(args.save, f"{name} {Asked.parse(net).net} {how}", picture)
            for how, several in by_way.items():
                seen = Seen.mean(several)
                say(name, net, how, seen)
                together[net, how] = together.get((net, how), Seen([], [], [])) + seen
    for (net, how), seen in together.items():
        say("all", net, how, seen)


if __name__ == "__main__":
    main()
