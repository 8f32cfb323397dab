"""What a dream starts from, the octaves' sizes, and what of the photograph is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamjobs.errors import ParamsError
from dreamjobs.octaves.start import keep_luminance, mask_at, parse_size, starting_picture
from dreamjobs.params import DreamParams, make_params
from dreamjobs.sizes import octave_sizes

COVARIANCE = ((1.07, 0.90, 0.74), (0.90, 0.97, 0.87), (0.74, 0.87, 0.96))


def photograph(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def params(**values: Any) -> DreamParams:
    return make_params(values)


def start(picture: Tensor | None, seed: int = 1, **values: Any) -> Tensor:
    return starting_picture(picture, params(**values), torch.Generator().manual_seed(seed))


def test_a_dream_starts_from_the_photograph() -> None:
    """By default the photograph is dreamed upon, and no random number is drawn."""
    picture, generator = photograph(7, 9), torch.Generator().manual_seed(1)
    before = generator.get_state()
    assert starting_picture(picture, params(size="64"), generator) is picture
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("kind", ["noise", "natural"])
@pytest.mark.parametrize(
    ("size", "given_size", "expected"),
    [("64", None, (64, 64)), ("32x48", None, (32, 48)), ("32x48", (7, 9), (32, 48)), (None, (7, 9), (7, 9))],
)
def test_noise_has_the_size_asked_for(
    kind: str, size: str | None, given_size: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    """`size` is the noise's, height before width; without it the photograph's is."""
    found = start(photograph(*given_size) if given_size else None, start=kind, size=size)
    assert found.shape == (1, 3, *expected)
    assert found.dtype == torch.float32
    assert found.is_contiguous()


@pytest.mark.parametrize("kind", ["image", "noise", "natural", "blend"])
def test_a_missing_photograph_is_named(kind: str) -> None:
    """Without a photograph, what needs its pixels or its size says so."""
    with pytest.raises(ParamsError, match=f"`{kind}` needs a photograph"):
        start(None, start=kind)


def test_noise_is_faint_and_grey() -> None:
    """`noise` is uniform about mid grey, channels apart, with a deviation between 0.05 and 0.1."""
    found = start(None, start="noise", size="200")
    assert found.mean().item() == pytest.approx(0.5, abs=0.005)
    assert 0.05 < found.std().item() < 0.1
    assert torch.corrcoef(found[0].flatten(1)).fill_diagonal_(0).abs().max().item() < 0.02


def test_natural_noise_has_the_colours_of_photographs() -> None:
    """Averaged over seeds, its mean is 0.5 and its covariance the photographs', at a mean deviation of 0.15."""
    pictures = [start(None, seed, start="natural", size="96x128") for seed in range(60)]
    covariance = torch.stack([torch.cov(found[0].flatten(1)) for found in pictures]).mean(0)
    assert torch.cat(pictures).mean().item() == pytest.approx(0.5, abs=0.005)
    assert covariance.diagonal().mean().sqrt().item() == pytest.approx(0.15, rel=0.02)
    assert torch.allclose(covariance / 0.15**2, torch.tensor(COVARIANCE), atol=0.06)


def test_natural_noise_falls_as_one_over_frequency() -> None:
    """Its mean amplitude over rings of the spectrum has slope -1 in log frequency."""
    planes = [start(None, seed, start="natural", size="128")[0, 0].numpy() for seed in range(10)]
    spectrum = np.mean([np.abs(np.fft.fft2(plane - plane.mean())) for plane in planes], axis=0)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None, :])
    rings = [(frequency > low) & (frequency <= 1.5 * low) for low in (0.02, 0.05, 0.1, 0.2, 0.3)]
    along, up = ([np.log(values[ring].mean()) for ring in rings] for values in (frequency, spectrum))
    assert np.polyfit(along, up, 1)[0] == pytest.approx(-1.0, abs=0.08)


@given(st.sampled_from(["noise", "natural"]), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**63 - 1))
def test_noise_is_a_picture(kind: str, height: int, width: int, seed: int) -> None:
    """At any size and seed noise lies in [0, 1], finite; down to one pixel, which is grey or near it."""
    found = start(None, seed, start=kind, size=f"{height}x{width}")
    assert found.isfinite().all()
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("kind", ["noise", "natural"])
def test_noise_is_the_seeds_alone(kind: str) -> None:
    """The same seed gives the same bytes with one thread and with two; another seed gives others."""
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(start(None, start=kind, size="150x97"))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    assert not torch.equal(found[0], start(None, 2, start=kind, size="150x97"))


@given(st.floats(0, 1))
def test_a_blend_is_a_weighted_mean(share: float) -> None:
    """`blend` is (1 - noise) of the photograph and `noise` of natural noise of its size; `size` is not for it."""
    picture = photograph(12, 17)
    noise = start(picture, start="natural")
    found = start(picture, start="blend", noise=share, size="64")
    assert torch.allclose(found, (1 - share) * picture + share * noise, atol=1e-6)


@given(st.integers(1, 99_999), st.integers(1, 99_999))
def test_sizes_parse(height: int, width: int) -> None:
    """One number is a square, two are height and width."""
    assert parse_size(str(height)) == (height, height)
    assert parse_size(f"{height}x{width}") == (height, width)


@pytest.mark.parametrize("text", ["", "x", "0", "5x", "x5", "5x0", "-5", "1x2x3", "5 x 6", "1.5", "wide"])
def test_other_sizes_are_refused(text: str) -> None:
    """What is not a size is named with what is allowed."""
    with pytest.raises(ParamsError, match="allowed is a side or height x width"):
        parse_size(text)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 12), st.floats(1.01, 4), st.integers(1, 100))
def test_octaves_end_at_the_picture(height: int, width: int, octaves: int, scale: float, least: int) -> None:
    """By default the last octave is the picture; before it sizes only shrink, down to the least side."""
    found = octave_sizes((height, width), params(octaves=octaves, octave_scale=scale), least)
    assert found[-1] == (height, width)
    assert len(found) == octaves
    assert found == sorted(found)
    assert min(found[0]) >= min(least, height, width)


def test_octaves_of_a_scale() -> None:
    """Three octaves of 2 are a quarter, a half and the whole."""
    assert octave_sizes((100, 60), params(octaves=3, octave_scale=2.0)) == [(25, 15), (50, 30), (100, 60)]


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.lists(st.integers(1, 5000), min_size=1, max_size=6),
    st.integers(1, 100),
)
def test_explicit_octaves_have_the_longer_sides_asked_for(size: tuple[int, int], sides: list[int], least: int) -> None:
    """The longer side is what was asked for, the other in proportion, rounded; neither is under the least side."""
    found = octave_sizes(size, params(octave_sizes=" ".join(map(str, sides)), octaves=2), least)
    for side, octave in zip(sides, found, strict=True):
        floor = [min(length, least) for length in size]
        assert max(octave) == max(side, *floor)
        for length, other, low in zip(size, octave, floor, strict=True):
            assert other == low or abs(other - length * side / max(size)) <= 0.5 + 1e-9
            assert other >= max(1, low)


def test_explicit_octaves_may_enlarge() -> None:
    """The last of explicit sizes is the result's, larger or smaller than the photograph."""
    assert octave_sizes((60, 90), params(octave_sizes="45 90 180")) == [(30, 45), (60, 90), (120, 180)]
    assert octave_sizes((900, 600), params(octave_sizes="300")) == [(300, 200)]


def to_ycbcr(picture: Tensor) -> Tensor:
    """BT.601, full range, by its matrix."""
    matrix = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return torch.einsum("ij,njhw->nihw", matrix, picture)


def test_luminance_is_the_dreams_and_colours_are_the_photographs() -> None:
    """In YCbCr (BT.601) Y is the dream's, Cb and Cr the photograph's, where nothing is clamped."""
    dreamed, picture = 0.4 + 0.2 * photograph(9, 8, 1), 0.4 + 0.2 * photograph(9, 8, 2)
    found = to_ycbcr(keep_luminance(dreamed, picture))
    assert torch.allclose(found[:, :1], to_ycbcr(dreamed)[:, :1], atol=1e-5)
    assert torch.allclose(found[:, 1:], to_ycbcr(picture)[:, 1:], atol=1e-5)


def test_keeping_the_luminance_stays_in_range() -> None:
    """Bright on saturated colours is clamped; a photograph that was not changed comes back."""
    white, red = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1.0
    assert keep_luminance(white, red).max() == 1
    picture = photograph(9, 8)
    assert torch.allclose(keep_luminance(picture, picture), picture, atol=1e-6)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_mask_is_resized(height: int, width: int, rows: int, columns: int) -> None:
    """At any size a mask stays in [0, 1], and one of a single value keeps it."""
    found = mask_at(photograph(height, width)[:, :1].round(), (rows, columns))
    assert found.shape == (1, 1, rows, columns)
    assert 0 <= found.min() <= found.max() <= 1
    even = mask_at(torch.full((1, 1, height, width), 0.3), (rows, columns))
    assert torch.allclose(even, torch.full_like(even, 0.3), atol=1e-6)


def test_a_shrunk_mask_averages() -> None:
    """Fine stripes of black and white shrink to grey, and a mask at its own size is itself."""
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert torch.allclose(mask_at(stripes, (16, 16))[..., 1:-1], torch.full((1, 1, 16, 14), 0.5), atol=0.05)
    assert torch.equal(mask_at(stripes, (64, 64)), stripes)
