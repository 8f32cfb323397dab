"""The random transform of a step: what is drawn, what it does to a picture, and how a gradient comes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamjobs.octaves.moves import Move, draw
from dreamjobs.params import DreamParams, make_params

SIDES = st.integers(1, 40)
SHIFTS = st.integers(-50, 50)
MOVES = st.builds(Move, SHIFTS, SHIFTS, st.just(1.0) | st.floats(0.5, 1.5), st.just(0.0) | st.floats(-180, 180))


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def params(**values: Any) -> DreamParams:
    return make_params(values)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(SIDES, SIDES, SHIFTS, SHIFTS)
def test_a_shift_is_undone_exactly(height: int, width: int, y: int, x: int) -> None:
    """Shifted and pulled back, a picture of any size is the same to the last bit."""
    before, move = picture(height, width), Move(y, x)
    assert torch.equal(move.pull_back(move.apply(before), before.shape), before)


@given(SIDES, SIDES, MOVES)
def test_pull_back_is_the_transpose(height: int, width: int, move: Move) -> None:
    """<apply(a), b> is <a, pull_back(b)> for any move: what comes back is the gradient by the picture not moved."""
    a, b = picture(height, width, 1), picture(height, width, 2)
    left = (move.apply(a) * b).double().sum().item()
    right = (a * move.pull_back(b, a.shape)).double().sum().item()
    assert left == pytest.approx(right, rel=1e-4)


@given(SIDES, SIDES, MOVES)
def test_a_move_keeps_size_and_range(height: int, width: int, move: Move) -> None:
    """A moved picture is as large as before, within the values it had, and without gaps at its edges."""
    before = picture(height, width)
    moved = move.apply(before)
    assert moved.shape == before.shape
    assert before.min() - 1e-5 <= moved.min() <= moved.max() <= before.max() + 1e-5


def test_a_move_of_nothing_changes_nothing() -> None:
    """Scale 1 and angle 0 are a shift only, and shift 0 too is the picture."""
    before = picture(9, 14)
    assert Move(0, 0).is_roll
    assert torch.equal(Move(0, 0, 1.0, 0.0).apply(before), before)
    assert torch.equal(Move(2, -3).apply(before), torch.roll(before, (2, -3), dims=(2, 3)))


@pytest.mark.parametrize(("scale", "angle"), [(1.1, 0.0), (1.0, 5.0)])
def test_a_zoom_or_a_turn_is_no_roll(scale: float, angle: float) -> None:
    """With either, a move is more than a shift."""
    assert not Move(0, 0, scale, angle).is_roll


@pytest.mark.parametrize("turns", [-1, 1, 2])
def test_quarter_turns_are_exact(turns: int) -> None:
    """By 90 degrees a square turns as torch.rot90 turns it, counterclockwise where positive."""
    before = picture(12, 12)
    assert torch.allclose(Move(0, 0, 1.0, 90.0 * turns).apply(before), before.rot90(turns, (2, 3)), atol=1e-4)


def test_a_turn_keeps_shapes_in_an_oblong_picture() -> None:
    """A bar along the longer side of a 21 x 41 picture becomes, by 90 degrees, a bar along the shorter."""
    before = torch.zeros(1, 1, 21, 41)
    before[..., 10, 14:27] = 1.0
    expected = torch.zeros(1, 1, 21, 41)
    expected[..., 4:17, 20] = 1.0
    assert torch.allclose(Move(0, 0, 1.0, 90.0).apply(before), expected, atol=1e-4)


def test_a_scale_above_one_enlarges() -> None:
    """At scale 1.5 a square of 10 pixels covers 15, about the same centre."""
    before = torch.zeros(1, 1, 40, 40)
    before[..., 15:25, 15:25] = 1.0
    after = Move(0, 0, 1.5).apply(before)
    assert after.sum().item() == pytest.approx(15 * 15, rel=0.02)
    assert torch.allclose(after, after.flip(2), atol=1e-5)
    assert torch.allclose(after, after.flip(3), atol=1e-5)


def test_the_shift_comes_before_the_warp() -> None:
    """A move is the shift, then zoom and turn about the centre of the shifted picture."""
    before = picture(15, 20)
    both = Move(3, -2, 1.2, 10.0).apply(before)
    assert torch.equal(both, Move(0, 0, 1.2, 10.0).apply(Move(3, -2).apply(before)))


def test_moving_leaves_what_it_is_given() -> None:
    """Neither picture nor gradient is changed in place, and no graph is kept."""
    before, move = picture(10, 10), Move(1, 2, 1.3, 20.0)
    with torch.no_grad():
        back = move.pull_back(move.apply(before), before.shape)
    assert torch.equal(before, picture(10, 10))
    assert not back.requires_grad


def test_a_plain_jitter_is_one_draw() -> None:
    """Without scale and angle a move takes two whole numbers in one draw, so that what follows is as it ever was."""
    ours, theirs = seeded(), seeded()
    for _ in range(5):
        y, x = torch.randint(-32, 33, (2,), generator=theirs).tolist()
        assert draw(params(), ours) == Move(y, x)
    assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("asked", [{"jitter_scale": 0.2}, {"jitter_rotate": 30.0}])
def test_only_what_is_asked_for_is_drawn(asked: dict[str, float]) -> None:
    """Scale and angle are drawn after the shift, one number each, only where asked for."""
    ours, theirs = seeded(), seeded()
    move = draw(params(**asked), ours)
    assert [move.y, move.x] == torch.randint(-32, 33, (2,), generator=theirs).tolist()
    assert (move.scale != 1, move.angle != 0) == ("jitter_scale" in asked, "jitter_rotate" in asked)
    torch.rand((), generator=theirs)
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_draws_fill_their_ranges() -> None:
    """Shift, scale and angle are uniform over what the parameters allow, its ends nearly reached."""
    generator, chosen = seeded(), params(jitter=4, jitter_scale=0.2, jitter_rotate=30.0)
    moves = [draw(chosen, generator) for _ in range(500)]
    assert {move.y for move in moves} == {move.x for move in moves} == set(range(-4, 5))
    for values, low, high in (([m.scale for m in moves], 0.8, 1.2), ([m.angle for m in moves], -30.0, 30.0)):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high


def test_equal_seeds_draw_equal_moves() -> None:
    """A move is a function of the parameters and the generator's state."""
    chosen = params(jitter_scale=0.1, jitter_rotate=10.0)
    assert draw(chosen, seeded(7)) == draw(chosen, seeded(7)) != draw(chosen, seeded(8))


def test_a_shift_in_shares() -> None:
    """The shift in shares of height and width says where positions went, at any resolution."""
    assert Move(3, -10).shift(30, 40) == (0.1, -0.25)
