"""What is done to a gradient: normalisation and smoothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dreamjobs.gradients import normalize, smooth

_STRENGTHS = {
    "mean_abs": lambda g: g.abs().mean(),
    "std": lambda g: ((g - g.mean()) ** 2).mean().sqrt(),
    "rms": lambda g: (g**2).mean().sqrt(),
}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)) + 0.25


@pytest.mark.parametrize("how", list(_STRENGTHS))
@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e20])
def test_normalised_is_of_unit_strength(how: str, scale: float) -> None:
    """Whatever its scale, faint to where squares underflow, a normalised gradient has strength one."""
    gradient = noise(1, 3, 20, 30) * scale
    found = normalize(gradient, how)
    assert _STRENGTHS[how](found.double()).item() == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(found / found.abs().max(), gradient / gradient.abs().max(), atol=1e-6)


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
