"""What a large picture takes of memory, counted in copies of it."""

from __future__ import annotations

import subprocess
import sys

_MEASURE = """
import resource, sys
import torch
from dreamjobs import dream, load_net
from dreamjobs.params import make_params

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

torch.set_num_threads(1)
net = load_net("tiny")
values = {"net": "tiny", "objective": "things", "octaves": 2, "steps": 1, "tile_size": 128}
picture = torch.rand(2000, 3000, 3).permute(2, 0, 1)[None]
dream(picture[..., :200, :300], net, make_params(values))
before = peak()
for more in ({}, {"normalize": "laplacian"}, {"smoothing": 1.0}, {"keep_colors": True}):
    dream(picture, net, make_params(values | more))
    print((peak() - before) / (picture.numel() * 4))
"""


def test_a_dream_holds_few_copies_of_its_picture() -> None:
    """Beside the photograph there are the dream, its gradient and a part of one more; pyramids and blurs take four."""
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    copies = [float(line) for line in done.stdout.split()]
    assert len(copies) == 4
    assert copies[0] < 3.2
    assert copies[-1] < 7
