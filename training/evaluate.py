"""Measure the built-in net against its teacher on photographs it never saw, and draw sheets of dreams to look at.

    python -m training.evaluate --weights TEACHER --photos DIR --run training/runs/NAME --sheet DIR

Prints one JSON line per figure. The error of `mix4c` needs a run's checkpoint, which holds its map to the teacher.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torch import Tensor, nn

from dreamjobs.nets.dreamnet import DreamNet
from training import matter
from training.distill import load_teacher
from training.student import MEAN, STAGES, STD, activations, aligned, normalised, teacher_activations

LAYERS = ("stem", "mix4a", "mix4b", "mix4c", "mix8a", "mix8b", "mix8c", "mix8d", "mix16a")
NAMES = torchvision.models.SqueezeNet1_0_Weights.IMAGENET1K_V1.meta["categories"]
CLASSES = ("great white shark", "ostrich", "scorpion", "macaw", "flamingo", "golden retriever", "tabby", "lion", "bee",
           "monarch", "zebra", "African elephant", "altar", "balloon", "castle", "church", "dial telephone", "fountain",
           "palace", "pickup", "sports car", "broccoli", "pineapple", "daisy")  # fmt: skip
SUFFIXES = {".jpg", ".jpeg", ".png"}


def say(**figure: Any) -> None:
    sys.stdout.write(json.dumps(figure) + "\n")
    sys.stdout.flush()


def crops(photo: Tensor, n: int, size: int, g: torch.Generator) -> Tensor:
    """`n` square crops of 40% to 100% of the shorter side, scaled to `size`; every other one mirrored."""
    h, w = photo.shape[2:]
    out = []
    for i in range(n):
        side = int(min(h, w) * float(matter.uniform(g, 0.4, 1.0, 1)))
        top, left = matter.pick(g, h - side + 1), matter.pick(g, w - side + 1)
        crop = photo[:, :, top : top + side, left : left + side]
        crop = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)
        out.append(crop.flip(3) if i % 2 else crop)
    return torch.cat(out)


def compare(net: DreamNet, adapters: dict[str, Tensor], teacher: nn.Module, pictures: dict[str, Tensor]) -> None:
    """Feature errors (squared error over the teacher's square) and agreement of the best class, on all pictures."""
    error, square, agree, among = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0), 0.0, 0.0
    total = sum(len(p) for p in pictures.values())
    for name, x in pictures.items():
        theirs, mine = teacher_activations(teacher, normalised(x)), activations(net, normalised(x))
        for stage in STAGES:
            maps = mine[stage]
            if stage + ".weight" in adapters:
                maps = F.conv2d(maps, adapters[stage + ".weight"], adapters[stage + ".bias"])
            elif maps.shape[1] != theirs[stage].shape[1]:
                continue
            error[stage] += float((aligned(maps, theirs[stage]) - theirs[stage]).square().sum())
            square[stage] += float(theirs[stage].square().sum())
        a, b = mine["scores"].mean((2, 3)).argmax(1), theirs["logits"].mean((2, 3))
        same, near = (a == b.argmax(1)).sum(), (b.topk(5).indices == a[:, None]).any(1).sum()
        agree, among = agree + float(same), among + float(near)
        say(photo=name, crops=len(x), agreement=round(float(same) / len(x), 3))
    say(feature_errors={f"{k} (features.{n})": round(error[k] / square[k], 4) for k, n in STAGES.items() if square[k]})
    say(crops=total, top1_agreement=round(agree / total, 4), top1_in_teachers_top5=round(among / total, 4))


def steadiness(teacher: nn.Module, pictures: dict[str, Tensor]) -> None:
    """How often the teacher agrees with itself on crops that hardly differ: what agreement with it can be."""
    g = torch.Generator().manual_seed(0)
    total, noisy, shifted, edged = 0, 0.0, 0.0, 0.0
    padded = with_padded_edges(teacher)
    for x in pictures.values():
        best = teacher(normalised(x)).argmax(1)
        noise = (x + 0.02 * torch.randn(x.shape, generator=g)).clamp(0, 1)
        moved = F.pad(x, (1, 0, 1, 0), mode="replicate")[..., :-1, :-1]
        noisy += float((teacher(normalised(noise)).argmax(1) == best).sum())
        shifted += float((teacher(normalised(moved)).argmax(1) == best).sum())
        edged += float((padded(normalised(x)).argmax(1) == best).sum())
        total += len(x)
    counts = {"noise_of_2_percent": noisy, "shift_of_a_pixel": shifted, "padded_edges": edged}
    say(teacher_agrees_with_itself={name: round(count / total, 3) for name, count in counts.items()})


def with_padded_edges(teacher: nn.Module) -> nn.Module:
    """SqueezeNet whose first convolution and pools pad, as in many nets, so that its maps halve exactly."""
    other = copy.deepcopy(teacher)
    other.features[0].padding = (3, 3)  # type: ignore[index,union-attr]
    for index, layer in enumerate(other.features):  # type: ignore[arg-type]
        if isinstance(layer, nn.MaxPool2d):
            other.features[index] = nn.MaxPool2d(3, stride=2, padding=1)  # type: ignore[index,operator]
    return other


def whole_photos(net: DreamNet, teacher: nn.Module, photos: dict[str, Tensor]) -> None:
    for name, photo in photos.items():
        x = normalised(F.interpolate(photo, (224, 224), mode="bilinear", antialias=True))
        mine, theirs = net(x)[0].topk(5).indices.tolist(), teacher(x)[0].topk(5).indices.tolist()
        say(
            photo=name,
            mine=[NAMES[i] for i in mine],
            teacher=[NAMES[i] for i in theirs],
            top1_in_top5=mine[0] in theirs,
        )


def _until(net: nn.Module, last: str) -> nn.Module:
    names = [n for n, _ in net.named_children()]
    parts = [m for _, m in net.named_children()][: names.index(last) + 1]
    return nn.Sequential(*parts).eval().requires_grad_(False).to(memory_format=torch.channels_last)


def dream(
    photo: Tensor, loudness: Callable[[Tensor], Tensor], *, octaves: int = 4, steps: int = 10, size: float = 0.006
) -> tuple[Tensor, bool]:
    """A plain dream (octaves of 1.4, jitter 32, g / mean|g|) and whether the objective rose in the last octave."""
    g = torch.Generator().manual_seed(0)
    h, w = photo.shape[2:]
    detail, first = torch.zeros_like(photo), 0.0
    for octave in reversed(range(octaves)):
        shape = [round(s / 1.4**octave) for s in (h, w)]
        base = F.interpolate(photo, shape, mode="bilinear", antialias=True)
        x = base + F.interpolate(detail, shape, mode="bilinear", antialias=True)
        for i in range(steps):
            dy, dx = (torch.randint(-32, 33, (2,), generator=g)).tolist()
            rolled = x.roll((dy, dx), (2, 3)).requires_grad_(True)
            value = loudness((rolled - MEAN) / STD)
            first = float(value.detach()) if i == 0 else first
            grad = torch.autograd.grad(value, rolled)[0]
            x = (x + (size * grad / (grad.abs().mean() + 1e-12)).roll((-dy, -dx), (2, 3))).clamp(0, 1)
        detail = x - base
    return x, float(loudness((x - MEAN) / STD)) > first


def sheet(columns: dict[str, nn.Module], photos: dict[str, Tensor], path: Path, side: int) -> None:
    """One row a photograph, one column a layer; prints any layer whose objective did not rise."""
    rows = []
    for photo in photos.values():
        scale = side / max(photo.shape[2:])
        small = F.interpolate(photo, scale_factor=scale, mode="bilinear", antialias=True)
        small = small.contiguous(memory_format=torch.channels_last)
        row = []
        for name, layer in columns.items():
            x, rose = dream(small, lambda x, layer=layer: layer(x).square().mean())
            if not rose:
                say(layer=name, rose=False)
            row.append(_labelled(x, name))
        rows.append(torch.cat(row, 3))
    width = max(r.shape[3] for r in rows)
    _write(torch.cat([F.pad(r, (0, width - r.shape[3])) for r in rows], 2), path)


def class_sheet(net: DreamNet, path: Path, classes: tuple[str, ...], side: int = 192, columns: int = 8) -> None:
    """Pictures dreamed from noise towards classes."""
    g = torch.Generator().manual_seed(0)
    cells = []
    for k in map(NAMES.index, classes):
        noise = (0.5 + 0.4 * (matter.clouds(1, side, g) - 0.5)).contiguous(memory_format=torch.channels_last)
        x, _ = dream(noise, lambda x, k=k: activations(net, x)["logits"][0, k].mean(), steps=40, size=0.004)
        cells.append(_labelled(x, NAMES[k]))
    rows = [torch.cat(cells[i : i + columns], 3) for i in range(0, len(cells), columns)]
    _write(torch.cat(rows, 2), path)


def _labelled(x: Tensor, text: str) -> Tensor:
    image = Image.fromarray((x[0].permute(1, 2, 0) * 255).round().byte().numpy())
    ImageDraw.Draw(image).text((4, 3), text, fill="white", stroke_width=1, stroke_fill="black")
    return torchvision.transforms.functional.to_tensor(image)[None]


def _write(x: Tensor, path: Path) -> None:
    Image.fromarray((x[0].permute(1, 2, 0) * 255).round().byte().numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--teacher", default="squeezenet1_0")
    parser.add_argument("--weights", default="IMAGENET1K_V1")
    parser.add_argument("--net", default="dreamjobs/nets/dreamnet.safetensors")
    parser.add_argument("--run", help="a training run, for its linear maps")
    parser.add_argument("--photos", nargs="+", required=True, help="photographs or folders of them, none trained on")
    parser.add_argument("--crops", type=int, default=400, help="crops of each photograph")
    parser.add_argument("--sheet", help="draw sheets of dreams in this folder")
    parser.add_argument("--side", type=int, default=448, help="longer side of a dream on the sheet")
    parser.add_argument("--only", nargs="+", choices=["figures", "photos", "teacher", "classes"])
    args = parser.parse_args()
    parts = set(args.only or ["figures", "photos", "teacher", "classes"])
    torch.set_num_threads(2)
    net = DreamNet().eval().requires_grad_(False)
    net.load_state_dict({k: v.float() for k, v in load_file(args.net).items()})
    net = net.to(memory_format=torch.channels_last)
    teacher = load_teacher(args.teacher, args.weights)
    paths = [p for a in map(Path, args.photos) for p in (sorted(a.iterdir()) if a.is_dir() else [a])]
    photos = {p.name: matter.load_photo(p) for p in paths if p.suffix in SUFFIXES}
    if "figures" in parts:
        state = torch.load(Path(args.run) / "last.pt", weights_only=True)["average"] if args.run else {}
        maps = {k.removeprefix("adapters."): v for k, v in state.items() if k.startswith("adapters.")}
        g = torch.Generator().manual_seed(0)
        with torch.inference_mode():
            pictures = {k: crops(p, args.crops, 224, g) for k, p in photos.items()}
            compare(net, maps, teacher, pictures)
            steadiness(teacher, pictures)
            whole_photos(net, teacher, photos)
    if args.sheet:
        folder = Path(args.sheet)
        folder.mkdir(parents=True, exist_ok=True)
        if "photos" in parts:
            sheet({k: _until(net, k) for k in LAYERS}, photos, folder / "net.png", args.side)
        if "teacher" in parts:
            theirs = {f"features.{n}": teacher.features[: n + 1] for n in (4, 5, 7, 9, 10, 12)}  # type: ignore[index]
            sheet(theirs, photos, folder / "teacher.png", args.side)
        if "classes" in parts:
            class_sheet(net, folder / "classes.png", CLASSES)


if __name__ == "__main__":
    main()
