"""What a large picture takes of memory, counted in copies of it; and in which pages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

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
samples = torch.randint(0, 256, (2000, 3000, 3), dtype=torch.uint8).permute(2, 0, 1)[None]
dream(samples[..., :200, :300], net, make_params(values))
before = peak()
dream(samples, net, make_params(values))
print((peak() - before) / (samples.numel() * 4))
picture = samples.permute(0, 2, 3, 1).float().div_(255).permute(0, 3, 1, 2)
for more in ({}, {"normalize": "laplacian"}, {"smoothing": 1.0}, {"keep_colors": True}):
    dream(picture, net, make_params(values | more))
    print((peak() - before) / (samples.numel() * 4))
"""


_BLOCK = """
import torch
import dreamjobs

block = torch.ones(32 << 20)
with open("/proc/self/smaps_rollup") as pages:
    print(sum(int(line.split()[1]) for line in pages if line.startswith("AnonHugePages")) >> 10)
"""


_FREED = """
import torch
from dreamjobs import load_net

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) >> 10

load_net("tiny")
before = resident()
blocks = [torch.ones(2 << 20) for _ in range(20)]
held = resident()
del blocks
print(held - before, resident() - before)
"""


@pytest.mark.parametrize(
    ("environment", "first", "last"), [({}, 4.0, 9.0), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, 2.8, 5.3)]
)
def test_a_dream_holds_few_copies_of_its_picture(environment: dict[str, str], first: float, last: float) -> None:
    """Beside a photograph of 8 bits there are the dream, its gradient and a part of one more, all float32.

    One that is given as floats, which is counted here, takes one more; pyramids and blurs take more.
    What was freed and is kept, or lies between what is in use, comes to up to three copies of so small a picture.
    """
    command = [sys.executable, "-c", _MEASURE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    copies = [float(line) for line in done.stdout.split()]
    assert len(copies) == 5
    assert copies[0] < first
    assert copies[1] < first + 1
    assert copies[-1] < last


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such pages to be asked for")
def test_large_blocks_lie_in_huge_pages() -> None:
    """As many as fit of a block of 128 MiB, where the kernel gives any, even if torch was imported first."""
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    gives = enabled.exists() and "[never]" not in enabled.read_text()
    done = subprocess.run([sys.executable, "-c", _BLOCK], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 100) == gives


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have settings of their own")
@pytest.mark.parametrize(("environment", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_freed_memory_is_kept_for_the_next_tile(environment: dict[str, str], kept: bool) -> None:
    """160 MiB in blocks of 8 stay with the process that loaded a net, unless its environment says otherwise."""
    command = [sys.executable, "-c", _FREED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    held, after = map(int, done.stdout.split())
    assert held >= 155
    assert (after > 120) == kept
    assert kept or after < 40
