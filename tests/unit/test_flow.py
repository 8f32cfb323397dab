"""Optical flow: a dream goes along with what it was dreamed on, and only as far as that can be seen."""

import sys

import cv2
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs.errors import ImageError
from dreamjobs.octaves import flow
from dreamjobs.octaves.flow import warp_along_flow

MARGIN = 16


pytestmark = pytest.mark.usefixtures("one_thread")


def textured(height: int, width: int, seed: int) -> Tensor:
    """Noise at three scales, as a photograph has detail of every size."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.rand(1, 3, height // step + 2, width // step + 2, generator=generator) for step in (4, 12, 40)]
    layers = [F.interpolate(one, (height, width), mode="bicubic", align_corners=False) for one in noise]
    return (sum(layers, torch.zeros(())) / 3).clamp(0, 1)


def view(scene: Tensor, y: int, x: int) -> Tensor:
    """What a camera moved by (y, x) sees of a scene: all but a margin."""
    height, width = (side - 2 * MARGIN for side in scene.shape[2:])
    return scene[..., MARGIN + y : MARGIN + y + height, MARGIN + x : MARGIN + x + width]


SCENE, DREAM = textured(96 + 2 * MARGIN, 128 + 2 * MARGIN, 0), textured(96 + 2 * MARGIN, 128 + 2 * MARGIN, 1)


def test_a_shifted_picture_takes_its_dream_along() -> None:
    """Things that moved by (3, -5) pixels carry what was dreamed on them to where they are."""
    out = warp_along_flow(view(DREAM, 0, 0), view(SCENE, 0, 0), view(SCENE, -3, 5))
    error = (out - view(DREAM, -3, 5)).abs()[..., 8:-8, 8:-8]
    assert error.mean() < 1e-3
    assert error.max() < 0.03


def test_what_comes_from_outside_is_the_photograph() -> None:
    """The strip that the first picture did not show has no dream to take along."""
    out = warp_along_flow(view(DREAM, 0, 0), view(SCENE, 0, 0), view(SCENE, 0, 12))
    assert (out - view(SCENE, 0, 12))[..., 8:-8, -6:].abs().max() < 1e-3


def test_no_motion_changes_nothing() -> None:
    """A still picture keeps its dream to the pixel."""
    out = warp_along_flow(view(DREAM, 0, 0), view(SCENE, 0, 0), view(SCENE, 0, 0))
    assert (out - view(DREAM, 0, 0)).abs().max() < 1e-3


def test_a_cut_shows_the_new_photograph() -> None:
    """Between two scenes that have nothing in common hardly any of the dream is kept."""
    before, now = (((view(scene, 0, 0) - 0.5) * 3 + 0.5).clamp(0, 1) for scene in (SCENE, DREAM))
    out = warp_along_flow(torch.ones_like(now), before, now)
    assert ((out - now).abs() < 0.01).float().mean() > 0.9


def test_what_a_moving_thing_uncovers_is_the_photograph() -> None:
    """A square moves by 10 pixels: it takes its dream along, and the ground behind it is new."""
    ground, thing = view(SCENE, 0, 0), textured(32, 32, 3)
    before, now = ground.clone(), ground.clone()
    before[..., 32:64, 40:72], now[..., 32:64, 50:82] = thing, thing
    dreamed = before.clone()
    dreamed[..., 32:64, 40:72] = 1
    out = warp_along_flow(dreamed, before, now)
    assert out[..., 38:58, 58:76].mean() > 0.95
    assert (out - now)[..., 38:58, 42:47].abs().mean() < 0.02


def test_a_change_of_light_is_no_motion_to_follow() -> None:
    """Where the colours became others the photograph shows, though nothing moved."""
    before = view(SCENE, 0, 0)
    now = before.clone()
    now[..., 30:60, 30:60] = (before[..., 30:60, 30:60] + 0.35).clamp(0, 1)
    out = warp_along_flow(view(DREAM, 0, 0), before, now)
    assert (out - now)[..., 36:54, 36:54].abs().mean() < 0.03


def test_large_pictures_are_looked_at_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow found at half the size, of other proportions even, is scaled up to the pixels of the whole."""
    monkeypatch.setattr(flow, "_LONGER_SIDE", 64)
    out = warp_along_flow(view(DREAM, 0, 0), view(SCENE, 0, 0), view(SCENE, -4, 6))
    assert (out - view(DREAM, -4, 6)).abs()[..., 12:-12, 12:-12].mean() < 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (40, 300), (300, 5)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    """Pictures smaller than the patches of the flow, and long ones, keep their dream where nothing moves."""
    photograph, dreamed = textured(*size, 0), textured(*size, 1)
    assert (warp_along_flow(dreamed, photograph, photograph) - dreamed).abs().max() < 1e-3


def test_the_same_bits_each_time() -> None:
    """Whatever number of threads OpenCV has been given, which it keeps."""
    threads = cv2.getNumThreads()
    found = []
    try:
        for number in (1, 2, 5):
            cv2.setNumThreads(number)
            found.append(warp_along_flow(view(DREAM, 0, 0), view(SCENE, 0, 0), view(SCENE, -3, 5)))
            assert cv2.getNumThreads() == number
    finally:
        cv2.setNumThreads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_nothing_given_is_changed() -> None:
    """The pictures handed in are the same afterwards, and the result is in [0, 1]."""
    given = [view(DREAM, 0, 0).clone(), view(SCENE, 0, 0).clone(), view(SCENE, 2, 2).clone()]
    kept = [picture.clone() for picture in given]
    out = warp_along_flow(*given)
    assert all(torch.equal(one, other) for one, other in zip(given, kept, strict=True))
    assert out.shape == given[0].shape
    assert 0 <= out.min() <= out.max() <= 1


def test_sizes_must_agree() -> None:
    """The message names all three sizes."""
    with pytest.raises(ImageError, match=r"\(8, 9\), \(8, 9\), \(9, 8\)"):
        warp_along_flow(torch.zeros(1, 3, 8, 9), torch.zeros(1, 3, 8, 9), torch.zeros(1, 3, 9, 8))


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing the message says what to install."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImageError, match=r'pip install "dreamjobs\[video\]"'):
        warp_along_flow(*[torch.zeros(1, 3, 8, 8)] * 3)
