"""Makes the README's strip: the photograph, the picture at the end of each octave, each enlarged to the same size.

python docs/strip.py PHOTO OUT.jpg [NAME=VALUE ...]
"""

import sys

import numpy as np
import torch
from PIL import Image

from dreamjobs import DreamParams, dream, load_net
from dreamjobs.grid import merge_settings

HEIGHT = 300
GAP = 6


def main(photo: str, out: str, settings: list[str]) -> None:
    params = DreamParams.model_validate({"max_side": 640, **merge_settings(settings)})
    image = Image.open(photo).convert("RGB")
    image.thumbnail((params.max_side or 640,) * 2)
    picture = torch.from_numpy(np.array(image, np.float32) / 255).permute(2, 0, 1)[None]
    panels = [picture]
    dream(picture, load_net(params.net), params, on_octave=lambda done: panels.append(done.picture))
    strip([to_image(panel) for panel in panels]).save(out, quality=88)


def to_image(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray((picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def strip(images: list[Image.Image]) -> Image.Image:
    """The images side by side, each HEIGHT pixels high."""
    panels = [
        image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.NEAREST) for image in images
    ]
    whole = Image.new("RGB", (sum(panel.width + GAP for panel in panels) - GAP, HEIGHT), "white")
    left = 0
    for panel in panels:
        whole.paste(panel, (left, 0))
        left += panel.width + GAP
    return whole


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
