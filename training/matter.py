"""What the student looks at: crops of photographs and drawn pictures, mixed and shifted. RGB in [0, 1], NCHW.

Only photographs whose licence allows it are used (`PHOTOS`, all inside scikit-image's wheel); everything else is drawn
from random numbers. Every function takes the generator it draws from, so a seed repeats the matter.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

PHOTOS = {  # file in skimage/data: what scikit-image's documentation says of its licence
    "astronaut.png": "public domain (NASA)",
    "brick.png": "CC0",
    "cell.png": "CC0",
    "chelsea.png": "CC0",
    "clock_motion.png": "public domain",
    "coffee.png": "CC0",
    "grass.png": "CC0",
    "gravel.png": "CC0",
    "horse.png": "CC0",
    "hubble_deep_field.jpg": "public domain (NASA)",
    "ihc.png": "no known copyright restrictions",
    "microaneurysms.png": "CC0",
    "retina.jpg": "CC0",
    "rocket.jpg": "public domain (SpaceX)",
    "text.png": "public domain",
}
WEIGHTS = {"astronaut.png": 4, "chelsea.png": 4, "coffee.png": 4, "rocket.jpg": 4, "hubble_deep_field.jpg": 2}
HELD_OUT = ("camera.png", "coins.png")  # CC0; no known copyright restrictions. Kept for `training.evaluate`


def uniform(g: Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g)


def pick(g: Generator, n: int) -> int:
    return int(torch.randint(n, (), generator=g))


def load_photo(path: Path) -> Tensor:
    """One photograph as (1, 3, h, w)."""
    array = np.array(Image.open(path).convert("RGB"), np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()


class Photos:
    """Photographs, each with its halved copies, so that a crop at any scale is taken without aliasing."""

    def __init__(self, folders: list[Path]) -> None:
        paths = [p for d in folders for p in sorted(d.iterdir()) if p.name in PHOTOS]
        if not paths:
            raise SystemExit(f"none of {sorted(PHOTOS)} in {[str(d) for d in folders]}")
        self.weights = torch.tensor([float(WEIGHTS.get(p.name, 1)) for p in paths])
        self.pyramids = [self._pyramid(load_photo(p)) for p in paths]

    @staticmethod
    def _pyramid(photo: Tensor) -> list[Tensor]:
        levels = [photo]
        while min(levels[-1].shape[2:]) >= 200:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels

    def crops(self, n: int, size: int, g: Generator) -> Tensor:
        """`n` crops, each turned, stretched and scaled at random."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=g).tolist()
        return torch.cat([self._crop(self.pyramids[i], size, g) for i in chosen])

    @staticmethod
    def _crop(levels: list[Tensor], size: int, g: Generator) -> Tensor:
        h, w = levels[0].shape[2:]
        r = torch.rand(9, generator=g).tolist()
        largest = min(h, w) / size
        zoom = math.exp(math.log(0.45) + r[0] * (math.log(max(largest, 0.6)) - math.log(0.45)))  # source px per px
        angle = (r[1] - 0.5) * (6.28 if r[2] < 0.1 else 0.6)
        aspect, shear = math.exp((r[3] - 0.5) * 0.5), (r[4] - 0.5) * 0.4
        flip = -1.0 if r[5] < 0.5 else 1.0
        c, s = math.cos(angle), math.sin(angle)
        a = torch.tensor([[flip * c * aspect, -s + shear * c], [flip * s * aspect, c + shear * s]])
        half = zoom * size / 2
        reach_x, reach_y = min(half / w, 0.5), min(half / h, 0.5)
        cx, cy = (2 * r[6] - 1) * (1 - 2 * reach_x), (2 * r[7] - 1) * (1 - 2 * reach_y)
        theta = torch.cat([a * torch.tensor([[half / (w / 2)], [half / (h / 2)]]), torch.tensor([[cx], [cy]])], 1)
        level = min(max(int(math.log2(max(zoom, 1.0)) + 0.3), 0), len(levels) - 1)
        grid = F.affine_grid(theta[None], [1, 3, size, size], align_corners=False)
        return F.grid_sample(levels[level], grid, padding_mode="reflection", align_corners=False)


def colours(n: int, g: Generator) -> Tensor:
    """`n` colours (n, 3, 1, 1), more of them muted than a uniform draw would give."""
    grey = uniform(g, 0, 1, n, 1, 1, 1)
    strength = uniform(g, 0, 1, n, 1, 1, 1) ** 2
    return (grey + strength * uniform(g, -0.8, 0.8, n, 3, 1, 1)).clamp(0, 1)


def clouds(n: int, size: int, g: Generator, channels: int = 3) -> Tensor:
    """Noise with a 1/f**a spectrum, a in 0.6 to 2.2, in [0, 1]; its channels are correlated as a photograph's are."""
    power = uniform(g, 0.6, 2.2, n, 1, 1, 1)
    fy, fx = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    amplitude = (fy**2 + fx**2).sqrt().clamp(min=1 / size) ** -power
    spectrum = torch.fft.rfft2(torch.randn(n, channels, size, size, generator=g)) * amplitude
    noise = torch.fft.irfft2(spectrum, s=(size, size))
    if channels == 3:
        tint = uniform(g, 0, 0.7, n, 1, 1, 1)
        noise = noise.mean(1, keepdim=True) * 1.7 + tint * noise
    noise = (noise - noise.mean((2, 3), keepdim=True)) / (noise.std((1, 2, 3), keepdim=True) + 1e-5)
    level = uniform(g, 0.2, 0.8, n, channels, 1, 1)
    return (level + uniform(g, 0.05, 0.3, n, 1, 1, 1) * noise).clamp(0, 1)


def _plane(n: int, size: int, g: Generator) -> tuple[Tensor, Tensor]:
    """Turned, bent coordinates (n, 1, size, size), about -1 to 1 from a random middle."""
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = uniform(g, 0, 2 * math.pi, n, 1, 1, 1)
    x, y = x - uniform(g, -0.7, 0.7, n, 1, 1, 1), y - uniform(g, -0.7, 0.7, n, 1, 1, 1)
    bend = uniform(g, 0, 0.15, n, 1, 1, 1) * torch.sin(x * uniform(g, 1, 8, n, 1, 1, 1) + angle)
    return angle.cos() * x - angle.sin() * y + bend, angle.sin() * x + angle.cos() * y


def patterns(n: int, size: int, g: Generator) -> Tensor:
    """Gratings, rings, spirals, petals, chequers, dots and gradients in two or three colours."""
    x, y = _plane(n, size, g)
    radius, turn = (x**2 + y**2).sqrt(), torch.atan2(y, x)
    f = torch.exp(uniform(g, 0.5, 3.6, n, 1, 1, 1))
    petals = torch.randint(1, 9, (n, 1, 1, 1), generator=g).float()
    gratings = [torch.sin(f * x), torch.sin(f * x) * torch.sin(f * y), x + 0.3 * torch.sin(f * y)]
    rings = [torch.sin(f * radius), torch.sin(f * radius + petals * turn), 1 - 3 * radius]
    flowers = [torch.cos(petals * turn) - 2 * radius, torch.sin(f * radius) * torch.cos(petals * turn)]
    waves = torch.cat(gratings + rings + flowers, 1)
    kind = torch.randint(waves.shape[1], (n, 1, 1, 1), generator=g).expand(n, 1, size, size)
    wave = waves.gather(1, kind) * torch.exp(uniform(g, -0.5, 3, n, 1, 1, 1)) + uniform(g, -0.6, 0.6, n, 1, 1, 1)
    mask = torch.sigmoid(wave * 2)
    picture = mask * colours(n, g) + (1 - mask) * colours(n, g)
    core = torch.sigmoid((uniform(g, -0.2, 0.4, n, 1, 1, 1) - radius) * 30)  # a pupil, a button, a wheel
    return picture * (1 - core) + core * colours(n, g)


def leaves(n: int, size: int, g: Generator, layers: int = 24) -> Tensor:
    """Dead leaves: ellipses and rounded boxes over each other, sizes by a power law, plain, shaded or textured."""
    picture = clouds(n, size, g)
    texture = torch.cat([clouds(n, size, g), patterns(n, size, g)])
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for _ in range(layers):
        a = uniform(g, 0, math.pi, n, 1, 1, 1)
        px, py = x - uniform(g, -1.1, 1.1, n, 1, 1, 1), y - uniform(g, -1.1, 1.1, n, 1, 1, 1)
        u, v = a.cos() * px - a.sin() * py, a.sin() * px + a.cos() * py
        scale = 0.08 / uniform(g, 0.08, 1, n, 1, 1, 1)
        power = 2.0 if pick(g, 2) else 6.0
        inside = (u / scale).abs() ** power + (v / (scale * uniform(g, 0.2, 1, n, 1, 1, 1))).abs() ** power
        mask = torch.sigmoid((1 - inside.clamp(max=4)) * scale * size * 0.5)
        fill = colours(n, g) + uniform(g, -0.3, 0.3, n, 3, 1, 1) * u / scale.clamp(min=0.05)
        fill = fill + uniform(g, 0, 0.8, n, 1, 1, 1) * (texture[torch.randint(2 * n, (n,), generator=g)] - 0.5)
        picture = picture + mask * (fill.clamp(0, 1) - picture)
    return picture


def drawn(n: int, size: int, g: Generator) -> Tensor:
    """A third each of clouds, patterns and dead leaves, in random order."""
    third = n // 3
    parts = [clouds(third, size, g), patterns(third, size, g), leaves(n - 2 * third, size, g)]
    return torch.cat(parts)[torch.randperm(n, generator=g)]


def shift_colours(x: Tensor, g: Generator) -> Tensor:
    """Brightness, contrast, saturation, hue, gamma and channel gains, each mild for most and strong for few."""
    n = len(x)
    wild = (uniform(g, 0, 1, n, 1, 1, 1) < 0.25).float() * 1.5 + 0.5
    x = x.clamp(0, 1) ** torch.exp(uniform(g, -0.3, 0.3, n, 1, 1, 1) * wild)
    grey = x.mean(1, keepdim=True)
    chroma = x - grey
    hue = uniform(g, -1, 1, n, 1, 1, 1) * wild * wild
    rolled = (chroma.roll(1, 1) - chroma.roll(-1, 1)) / math.sqrt(3)
    x = grey + torch.exp(uniform(g, -0.7, 0.5, n, 1, 1, 1) * wild) * (hue.cos() * chroma + hue.sin() * rolled)
    x = x * torch.exp(uniform(g, -0.12, 0.12, n, 3, 1, 1) * wild)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * torch.exp(uniform(g, -0.5, 0.35, n, 1, 1, 1) * wild)
    return (x + uniform(g, -0.12, 0.12, n, 1, 1, 1) * wild).clamp(0, 1)


def composite(x: Tensor, g: Generator) -> Tensor:
    """The first quarter pasted over another picture through a soft shape, the next eighth mixed with another."""
    quarter, most, size = len(x) // 4, len(x) * 3 // 8, x.shape[-1]
    other = x[torch.randperm(len(x), generator=g)[:most]]
    shape = clouds(quarter, size, g, 1)
    middle = shape.flatten(1).median(1).values.view(quarter, 1, 1, 1)
    pasted = torch.sigmoid((shape - middle) * torch.exp(uniform(g, 2.4, 6.4, quarter, 1, 1, 1)))
    mixed = uniform(g, 0.1, 0.5, most - quarter, 1, 1, 1).expand(-1, 1, size, size)
    mask = torch.cat([pasted, mixed])
    return torch.cat([x[:most] + mask * (other - x[:most]), x[most:]])


def blur_some(x: Tensor, g: Generator) -> Tensor:
    """An eighth of the pictures blurred, an eighth made noisy: every eighth one, so that all kinds are among them."""
    x = x.clone()
    x[::8] = F.avg_pool2d(F.avg_pool2d(x[::8], 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
    some = x[4::8]
    x[4::8] = some + uniform(g, 0, 0.12, len(some), 1, 1, 1) * torch.randn(some.shape, generator=g)
    return x.clamp(0, 1)


def batch(photos: Photos, drawings: Tensor, dreams: Tensor | None, n: int, g: Generator) -> Tensor:
    """`n` crops of photographs, the drawings and the dreams: shuffled, then mixed and shifted."""
    parts = [photos.crops(n, drawings.shape[-1], g), drawings] + ([] if dreams is None else [dreams])
    x = torch.cat(parts)[torch.randperm(sum(map(len, parts)), generator=g)]
    return blur_some(shift_colours(composite(x, g), g), g)


class Bank:
    """Drawings kept for reuse, since drawing costs as much as learning: a few are drawn anew for each batch.

    `state_dict` restores it.
    """

    def __init__(self, count: int, size: int, g: Generator) -> None:
        self.g, self.size, self.next = g, size, 0
        self.x = torch.cat([self._draw(48) for _ in range(count // 48)])

    def state_dict(self) -> dict[str, Tensor]:
        return {"x": self.x, "next": torch.tensor(self.next)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.x, self.next = state["x"], int(state["next"])

    def _draw(self, n: int) -> Tensor:
        return (drawn(n, self.size, self.g) * 255).byte()

    def windows(self, n: int, size: int) -> Tensor:
        """`n` windows of `size` pixels, mirrored and turned by quarters."""
        self.x[self.next : self.next + 4] = self._draw(4)
        self.next = (self.next + 4) % len(self.x)
        some = torch.randint(len(self.x), (n,), generator=self.g)
        top, left = pick(self.g, self.size - size + 1), pick(self.g, self.size - size + 1)
        x = self.x[some, :, top : top + size, left : left + size].float() / 255
        return torch.cat([x[0::4], x[1::4].flip(3), x[2::4].mT, x[3::4].mT.flip(3)])
