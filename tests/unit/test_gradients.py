"""What becomes of a gradient: smoothing, normalisation, the Laplacian pyramid, momentum, schedules, the end."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dreamjobs.gradients import Optimizer, laplacian, normalize, shape, smooth, stalled, step_factor
from dreamjobs.gradients.shaping import merge, split
from dreamjobs.params import DreamParams, make_params

Schedule = Literal["constant", "linear", "cosine"]

_STRENGTHS = {
    "mean_abs": lambda g: g.abs().mean(),
    "std": lambda g: ((g - g.mean()) ** 2).mean().sqrt(),
    "rms": lambda g: (g**2).mean().sqrt(),
}


def noise(*sides: int, seed: int = 5) -> Tensor:
    return torch.randn(sides, generator=torch.Generator().manual_seed(seed)) + 0.25


def params(**values: Any) -> DreamParams:
    return make_params(values)


@pytest.mark.parametrize("how", list(_STRENGTHS))
@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e20])
def test_normalised_is_of_unit_strength(how: str, scale: float) -> None:
    """Whatever its scale, faint to where squares underflow, a normalised gradient has strength one."""
    gradient = noise(1, 3, 20, 30) * scale
    found = normalize(gradient, how)
    assert _STRENGTHS[how](found.double()).item() == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(found / found.abs().max(), gradient / gradient.abs().max(), atol=1e-6)


@pytest.mark.parametrize("how", list(_STRENGTHS))
def test_a_large_gradient_is_of_unit_strength(how: str) -> None:
    """Over millions of numbers as over a few: nothing is lost where they are summed."""
    found = normalize(noise(1, 3, 1100, 1000), how)
    assert _STRENGTHS[how](found.double()).item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("how", list(_STRENGTHS))
def test_a_gradient_of_zeros_stays_zero(how: str) -> None:
    """Nothing to climb is no step, not a division by zero."""
    assert torch.equal(normalize(torch.zeros(1, 3, 4, 5), how), torch.zeros(1, 3, 4, 5))


def test_normalising_is_over_the_whole_picture() -> None:
    """A calm half stays as much fainter than a busy half as it was."""
    gradient = noise(1, 3, 8, 16)
    gradient[..., :8] *= 1e-3
    found = normalize(gradient, "mean_abs")
    ratio = found[..., :8].abs().mean() / found[..., 8:].abs().mean()
    assert ratio.item() == pytest.approx((gradient[..., :8].abs().mean() / gradient[..., 8:].abs().mean()).item(), 1e-5)


def test_sigma_zero_changes_nothing() -> None:
    """Smoothing is off at sigma 0: the very same tensor comes back."""
    gradient = noise(1, 3, 9, 7)
    assert smooth(gradient, 0.0) is gradient


@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 23)])
def test_smoothing_keeps_a_constant(sigma: float, size: tuple[int, int]) -> None:
    """A constant gradient is not changed, at the edges either, in a picture smaller than the blur too."""
    constant = torch.full((1, 3, *size), 0.7)
    assert torch.allclose(smooth(constant, sigma), constant, atol=1e-6)


def test_smoothing_is_symmetric() -> None:
    """Mirrored and transposed gradients give mirrored and transposed results; a spike spreads evenly."""
    gradient = noise(1, 3, 24, 24)
    blurred = smooth(gradient, 1.5)
    assert torch.allclose(smooth(gradient.flip(2), 1.5), blurred.flip(2), atol=1e-6)
    assert torch.allclose(smooth(gradient.flip(3), 1.5), blurred.flip(3), atol=1e-6)
    assert torch.allclose(smooth(gradient.transpose(2, 3), 1.5), blurred.transpose(2, 3), atol=1e-6)


def test_smoothing_is_the_mean_of_three_gaussians() -> None:
    """A spike becomes the mean of the Gaussians of sigma / 2, sigma and 2 sigma, its sum kept, channels apart."""
    spike = torch.zeros(1, 3, 61, 61)
    spike[0, 1, 30, 30] = 1.0
    found = smooth(spike, 2.0)
    at = torch.arange(61) - 30.0
    squares = at[:, None] ** 2 + at[None, :] ** 2
    gaussians = [torch.exp(-squares / (2 * sigma**2)) / (2 * torch.pi * sigma**2) for sigma in (1.0, 2.0, 4.0)]
    assert torch.allclose(found[0, 1], torch.stack(gaussians).mean(0), atol=1e-3)
    assert found[0, 1].sum().item() == pytest.approx(1.0, rel=1e-4)
    assert not found[0, ::2].any()


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12))
def test_the_bands_merge_to_the_gradient(height: int, width: int, levels: int) -> None:
    """Split into any number of bands and merged, a gradient of any size, odd or tiny, is itself."""
    gradient = noise(1, 3, height, width)
    bands = split(gradient, levels)
    assert len(bands) <= levels
    assert torch.allclose(merge(bands), gradient, atol=1e-5)


def test_the_bands_halve() -> None:
    """Each band is half the size of the last, rounded up, until a side is shorter than the filter."""
    assert [tuple(band.shape[2:]) for band in split(noise(1, 3, 21, 40), 3)] == [(21, 40), (11, 20), (6, 10)]
    assert [tuple(band.shape[2:]) for band in split(noise(1, 3, 9, 40), 12)] == [(9, 40), (5, 20), (3, 10)]
    assert len(split(noise(1, 3, 4, 100), 12)) == 1


def test_one_wave_is_in_the_band_of_its_scale() -> None:
    """A wave of 3 pixels is in the finest band, one of 64 in the coarsest."""
    x = torch.arange(128).expand(1, 3, 128, 128)
    for length, expected in ((3, 0), (64, 3)):
        energies = [band.square().mean().item() for band in split(torch.sin(2 * torch.pi * x / length), 4)]
        assert energies[expected] > 0.9 * sum(energies)


def shrink_matrix(length: int) -> np.ndarray:
    """Burt and Adelson's REDUCE along one axis: row i has their kernel about 2 i, edges repeated."""
    found = np.zeros(((length + 1) // 2, length))
    for i in range(len(found)):
        for offset, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
            found[i, min(max(2 * i + offset, 0), length - 1)] += weight / 16
    return found


def grow_matrix(length: int) -> np.ndarray:
    """EXPAND to `length` along one axis: pixel p is 2 sum over n of w(n) coarse[(p - n) / 2], edges repeated."""
    coarse = (length + 1) // 2
    found = np.zeros((length, coarse))
    for p in range(length):
        for n, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
            if (p - n) % 2 == 0:
                found[p, min(max((p - n) // 2, 0), coarse - 1)] += 2 * weight / 16
    return found


def test_laplacian_equals_the_definition() -> None:
    """Three bands of an 11 x 14 gradient, worked out with matrices in double precision, give the same."""
    gradient = noise(1, 3, 11, 14)
    bands, rest = [], gradient[0].double().numpy()
    for height, width in ((11, 14), (6, 7)):
        coarse = shrink_matrix(height) @ rest @ shrink_matrix(width).T
        bands.append(rest - grow_matrix(height) @ coarse @ grow_matrix(width).T)
        rest = coarse
    merged = rest / rest.std()
    for band in reversed(bands):
        height, width = band.shape[1:]
        merged = band / band.std() + grow_matrix(height) @ merged @ grow_matrix(width).T
    expected = torch.from_numpy(merged / np.abs(merged).mean())
    assert torch.allclose(laplacian(gradient, 3)[0].double(), expected, atol=1e-4)


def test_laplacian_brings_up_faint_scales() -> None:
    """A fine wave 20 times fainter than a coarse one is less than 3 times fainter after."""
    x = torch.arange(128).expand(1, 3, 128, 128)
    fine, coarse = torch.sin(2 * torch.pi * x / 3), torch.sin(2 * torch.pi * x / 64)
    found = laplacian(coarse + 0.05 * fine, 4)
    quiet, loud = ((found * wave).mean().item() for wave in (fine, coarse))
    assert 1 / 3 < quiet / loud < 3


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize("levels", [1, 4, 12])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 50)])
def test_laplacian_is_of_unit_strength(scale: float, levels: int, size: tuple[int, int]) -> None:
    """Whatever the scale, the size and the levels, mean|g| is 1: a step has the same size as after `mean_abs`."""
    found = laplacian(noise(1, 3, *size) * scale, levels)
    assert found.abs().mean().item() == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.7, -1e-20])
@pytest.mark.parametrize("size", [(1, 1), (5, 5), (37, 64)])
def test_laplacian_of_a_constant_is_constant(value: float, size: tuple[int, int]) -> None:
    """A constant gradient has no bands to divide by their zero deviation: it becomes 1, -1, or stays 0."""
    found = laplacian(torch.full((1, 3, *size), value), 6)
    assert torch.allclose(found, torch.full_like(found, math.copysign(1, value) if value else 0.0), atol=1e-4)


@pytest.mark.parametrize("how", list(_STRENGTHS))
def test_shape_smooths_then_normalises(how: str) -> None:
    """By default a gradient is only normalised; `smoothing` blurs it first, at every step alike."""
    gradient = noise(1, 3, 20, 24)
    assert torch.equal(shape(gradient.clone(), params(normalize=how), 3), normalize(gradient, how))
    blurred = params(normalize=how, smoothing=1.5)
    assert torch.equal(shape(gradient.clone(), blurred, 0), normalize(smooth(gradient, 1.5), how))
    assert torch.equal(shape(gradient.clone(), blurred, 0), shape(gradient.clone(), blurred, 9))


def test_shape_grows_the_blur_within_an_octave() -> None:
    """`smoothing_growth` is added in even parts, all of it at the last step."""
    gradient = noise(1, 3, 20, 24)
    growing = params(smoothing=0.5, smoothing_growth=2.0, steps=4)
    for step, sigma in enumerate((1.0, 1.5, 2.0, 2.5)):
        assert torch.equal(shape(gradient.clone(), growing, step), normalize(smooth(gradient, sigma), "mean_abs"))


def test_shape_by_laplacian() -> None:
    """`normalize=laplacian` smooths, then splits into `laplacian_levels` bands."""
    gradient = noise(1, 3, 40, 24)
    chosen = params(normalize="laplacian", laplacian_levels=2, smoothing=0.7)
    assert torch.equal(shape(gradient.clone(), chosen, 0), laplacian(smooth(gradient, 0.7), 2))


def test_ascent_steps_along_the_gradient() -> None:
    """`ascent` is the gradient, and remembers nothing."""
    optimizer = Optimizer("ascent")
    for seed in range(3):
        gradient = noise(1, 3, 4, 5, seed=seed)
        assert torch.equal(optimizer.step(gradient), gradient)


def test_momentum_of_a_constant_gradient_is_the_gradient() -> None:
    """From the first step on, a gradient that stays is its own change: `step_size` keeps its meaning."""
    optimizer, gradient = Optimizer("momentum"), noise(1, 3, 4, 5)
    for _ in range(30):
        assert torch.allclose(optimizer.step(gradient), gradient, rtol=1e-5)


def test_momentum_is_the_weighted_mean() -> None:
    """The change is the mean of all gradients so far, each weighing 0.9 of the next."""
    optimizer, gradients = Optimizer("momentum"), [noise(1, 3, 4, 5, seed=seed) for seed in range(6)]
    for count in range(1, 7):
        found = optimizer.step(gradients[count - 1])
        weights = [0.9 ** (count - 1 - i) for i in range(count)]
        expected = torch.stack([w * g for w, g in zip(weights, gradients, strict=False)]).sum(0) / sum(weights)
        assert torch.allclose(found, expected, atol=1e-6)


def test_adam_equals_pytorch() -> None:
    """`adam` changes a picture as torch.optim.Adam does with a learning rate of 1."""
    picture = torch.zeros(1, 3, 4, 5, requires_grad=True)
    theirs, ours = torch.optim.Adam([picture], lr=1.0, maximize=True), Optimizer("adam")
    total = torch.zeros_like(picture)
    for seed in range(8):
        picture.grad = noise(1, 3, 4, 5, seed=seed)
        theirs.step()
        total += ours.step(noise(1, 3, 4, 5, seed=seed))
    assert torch.allclose(total, picture.detach(), atol=1e-5)


@pytest.mark.parametrize("kind", ["ascent", "momentum", "adam"])
def test_no_gradient_is_no_step(kind: Literal["ascent", "momentum", "adam"]) -> None:
    """A gradient of zeros changes nothing, and the gradient that is given is left as it is."""
    gradient = torch.zeros(1, 3, 4, 5)
    optimizer = Optimizer(kind)
    assert torch.equal(optimizer.step(gradient), torch.zeros(1, 3, 4, 5))
    optimizer.step(noise(1, 3, 4, 5))
    assert not gradient.any()


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(1, 10_000), st.data())
def test_step_factors_fall_from_one_and_stay_above_zero(schedule: Schedule, steps: int, data: st.DataObject) -> None:
    """Every factor is in (0, 1], the first is 1, and none is larger than the one before."""
    step = data.draw(st.integers(0, steps - 1))
    factor = step_factor(schedule, step, steps)
    assert 0 < factor <= 1
    assert step_factor(schedule, 0, steps) == 1
    assert step == 0 or factor <= step_factor(schedule, step - 1, steps)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]),
    ],
)
def test_step_factors_of_four_steps(schedule: Schedule, expected: list[float]) -> None:
    """Four steps: all alike, down a straight line, down half a wave of cosine."""
    assert [step_factor(schedule, step, 4) for step in range(4)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([1.0] * 6, 0.0, False),
        ([1.0] * 5, 0.1, False),
        ([1.0] * 6, 0.01, True),
        ([0.0] * 6, 0.01, True),
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 0.01, True),
        ([100.0, 101.0, 102.0, 103.0, 104.0, 105.0], 0.005, False),
        ([100.0, 101.0, 102.0, 103.0, 104.0, 105.0], 0.02, True),
        ([-100.0, -99.0, -98.0, -97.0, -96.0, -95.0], 0.005, False),
        ([1.0, 9.0, 1.0, 1.0, 1.0, 9.0], 0.01, True),
        ([1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0], 0.01, True),
    ],
    ids=["off", "few", "still", "zero", "falls", "rises", "too little", "negative", "noise", "the last six"],
)
def test_stalled(values: list[float], share: float, expected: bool) -> None:
    """An octave has stalled when, over the last six values, a step raised the objective by no more than the share."""
    assert stalled(values, share) is expected
