"""The octave loop: the gradient by tiles, the ascent, and what a dream never changes."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.ops import SqueezeExcitation

from dreamjobs import images
from dreamjobs.errors import ImageError, NetError, ObjectiveError, ParamsError
from dreamjobs.nets import Net, load_net
from dreamjobs.objectives.terms import View
from dreamjobs.octaves import Goal, dream, prepare
from dreamjobs.octaves.moves import Move
from dreamjobs.octaves.pictures import unit
from dreamjobs.params import DreamParams, make_params
from dreamjobs.sizes import octave_sizes

TINY = load_net("tiny")


pytestmark = pytest.mark.usefixtures("one_thread")


def small_convnext() -> nn.Module:
    """ConvNeXt's blocks with few channels."""
    return ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 1)], layer_scale=0.5, num_classes=2)


def photograph(height: int, width: int, seed: int = 0) -> Tensor:
    """Waves and noise: every part differs from every other."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    waves = torch.stack([torch.sin(y / (7 + c)) * torch.cos(x / (11 - c)) for c in range(3)])
    return (0.5 + 0.3 * waves + 0.2 * (torch.rand(3, height, width, generator=generator) - 0.5))[None]


def params(**values: Any) -> DreamParams:
    """A short dream of the tiny net, less what is given."""
    few = {"net": "tiny", "objective": "things", "octaves": 1, "steps": 4, "jitter": 8, "threads": 1}
    return make_params(few | values)


def goal(net: Net, photo: Tensor, read: Any = None, **values: Any) -> Goal:
    """What the last octave climbs."""
    return prepare(net, params(**values), photo, read or (lambda name: b""))[-1]


def untiled(picture: Tensor, net: Net, objective: str, read: Any = None) -> Tensor:
    """The gradient as the definition has it: one forward and backward pass over the whole picture."""
    found = goal(net, picture, read, objective=objective)
    whole = picture.clone().requires_grad_()
    activations = found.reader(whole)
    views = {name: View(*values.shape[2:], 0, 0) for name, values in activations.items()}
    bound = found.bound
    parts = [term.part(activations[term.layer], views[term.layer]) for term in bound.local]
    parts += [term.value(term.reduce(activations[term.layer], views[term.layer])) for term in bound.sums]
    parts += [term.value(whole) for term in bound.pixels]
    return torch.autograd.grad(sum(parts), whole)[0]


def assert_same_gradient(picture: Tensor, net: Net, objective: str, tile_size: int, read: Any = None) -> None:
    expected = untiled(picture, net, objective, read)
    found = goal(net, picture, read, objective=objective, tile_size=tile_size).gradient(picture).pixels
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@settings(max_examples=30)
@given(
    st.sampled_from(["edges", "parts", "pool", "things", "things:3", "edges.0:1 - 2*things", "parts.1 + 0.5*things"]),
    st.tuples(st.integers(3, 110), st.integers(3, 110)) | st.sampled_from([(3, 200), (200, 5), (96, 96), (33, 31)]),
    st.integers(32, 70),
)
def test_the_tiled_gradient_equals_the_untiled(objective: str, size: tuple[int, int], tile_size: int) -> None:
    """Cut into tiles of any size, a picture of any size has the same gradient for every layer, to 1e-5."""
    assert_same_gradient(photograph(*size), TINY, objective, tile_size)


@pytest.mark.parametrize(
    ("name", "objective", "size", "tile_size"),
    [
        ("squeezenet1_0", "features.5", (141, 67), 48),
        ("squeezenet1_0", "features.0 + features.4:3", (90, 61), 32),
        ("googlenet", "inception3a", (150, 70), 64),
        ("resnet18", "layer2", (97, 130), 64),
        (f"{__name__}:small_convnext", "features.1", (100, 65), 32),
        (f"{__name__}:small_convnext", "features.3", (130, 64), 32),
        ("dreamnet", "mix8a:5 + stem", (131, 75), 48),
    ],
)
def test_the_tiled_gradient_equals_the_untiled_in_real_nets(
    name: str, objective: str, size: tuple[int, int], tile_size: int
) -> None:
    """Strides, ceil-mode pools, branches, additions and layer norms: tiles give the untiled gradient to 1e-5."""
    net = load_net(name, "random")
    assert len(goal(net, photograph(*size), objective=objective).reader.read_by_head) == 0
    assert_same_gradient(photograph(*size), net, objective, tile_size)


def gated() -> nn.Module:
    """A gate over the whole picture between two convolutions."""
    return nn.Sequential(
        OrderedDict(near=nn.Conv2d(3, 6, 3, stride=2), gate=SqueezeExcitation(6, 3), far=nn.Conv2d(6, 5, 3, stride=2))
    )


@pytest.mark.parametrize("objective", ["near + far", "far + near:2", "far:1 - 0.2*near", "far:3@0.2,0.9"])
def test_what_sees_the_whole_picture_is_read_from_assembled_maps(objective: str) -> None:
    """Behind a gate the gradient by tiles is the whole picture's too, in whatever order the layers are named."""
    net = load_net(f"{__name__}:gated", "random")
    assert len(goal(net, photograph(90, 70), objective=objective).reader.read_by_head) == 1
    assert_same_gradient(photograph(90, 70), net, objective, 32)


def png(picture: Tensor) -> bytes:
    """A picture as the bytes of a file."""
    out = io.BytesIO()
    Image.fromarray((picture[0].permute(1, 2, 0) * 255).byte().numpy()).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize(
    "objective",
    [
        "class:3",
        "class:3 + 0.1*things:2",
        "style(parts, wave.png)",
        "style(parts, wave.png) + 2*style(edges, wave.png) + things",
        "guide(things, wave.png)",
        "things:strong(3)",
        "edges:-1,-2",
        "things:4@0.9,0.3 + things:1@0,1",
        "mean(parts:3) - 5*tv - l2",
    ],
)
@pytest.mark.parametrize("size", [(90, 71), (33, 120)])
def test_every_objective_has_the_same_gradient_by_tiles(objective: str, size: tuple[int, int]) -> None:
    """Classes behind global pooling, Gram matrices, guides, ranks, neurons and pixels: tiles change nothing to 1e-5."""
    assert_same_gradient(photograph(*size), TINY, objective, 32, lambda name: png(photograph(40, 50, seed=5)))


@pytest.mark.parametrize("size", [(70, 101)])
def test_a_class_behind_a_head_has_the_same_gradient_by_tiles(size: tuple[int, int]) -> None:
    """ResNet's class, behind global pooling and a matrix, by tiles of 64 pixels is the untiled one."""
    assert_same_gradient(photograph(*size), load_net("resnet18", "random"), "class:7", 64)


def test_a_neuron_stays_where_the_picture_is() -> None:
    """However the picture is moved, a neuron's gradient lies where the neuron is named."""
    picture = photograph(80, 96)
    one = goal(TINY, picture, objective="things:2@0.25,0.75")
    for y, x in ((0, 0), (20, -24), (-40, 8)):
        place = one.gradient(picture, Move(y, x)).pixels.abs().sum((0, 1))
        rows, columns = place.sum(1), place.sum(0)
        assert abs((rows * torch.arange(80)).sum() / rows.sum() - 20) < 6
        assert abs((columns * torch.arange(96)).sum() / columns.sum() - 72) < 6


def test_the_objective_by_tiles_is_the_untiled_one() -> None:
    """The objective reported with a tiled gradient is the whole picture's."""
    picture = photograph(70, 101)
    one = goal(TINY, picture, tile_size=32).gradient(picture).objective
    other = goal(TINY, picture, tile_size=4096).gradient(picture).objective
    assert one.item() == pytest.approx(other.item(), rel=1e-5)


def test_a_step_by_tiles_is_the_untiled_step() -> None:
    """Normalisation is over the picture: one step of a half-flat picture is the same with and without tiles."""
    picture = photograph(80, 128)
    picture[..., 64:] = 0.5 + 1e-3 * picture[..., 64:]
    one = dream(picture, TINY, params(tile_size=32, steps=1)).picture
    other = dream(picture, TINY, params(tile_size=4096, steps=1)).picture
    assert (other - picture).abs().max() > 1e-3
    assert (one - other).abs().max() < 1e-5


def test_an_overlap_that_is_too_small_is_near_the_exact_gradient() -> None:
    """An overlap in pixels is approximate: not the exact gradient, but along it."""
    picture = photograph(96, 96)
    exact = untiled(picture, TINY, "things").flatten()
    found = goal(TINY, picture, tile_size=32, overlap=0).gradient(picture).pixels.flatten()
    assert not torch.allclose(found, exact, rtol=1e-3, atol=1e-5 * exact.abs().max().item())
    assert torch.cosine_similarity(found, exact, dim=0) > 0.8


@pytest.mark.parametrize("objective", ["edges", "parts", "pool", "things", "things:3", "-things", "edges - 0.1*things"])
def test_ascent_ascends(objective: str) -> None:
    """For every layer and sign the objective at the end of an octave is above the one at its start."""
    curve = dream(photograph(40, 52), TINY, params(objective=objective, steps=6, jitter=3)).objective
    assert curve[-1] > curve[0]


@pytest.mark.parametrize("how", ["mean_abs", "std", "rms"])
def test_a_step_is_along_the_gradient_and_as_long_as_asked(how: str) -> None:
    """One step moves pixels by the step size times the gradient of unit strength."""
    picture = photograph(40, 40)
    moved = dream(picture, TINY, params(steps=1, step_size=0.001, jitter=0, normalize=how)).picture - picture
    raw = untiled(picture, TINY, "things").double()
    strength = {"mean_abs": raw.abs().mean(), "std": raw.std(), "rms": raw.square().mean().sqrt()}[how]
    assert torch.allclose(moved.double(), 0.001 * raw / strength, atol=2e-6)


@pytest.mark.parametrize("values", [{"steps": 0}, {"objective": "0*things"}, {"objective": "edges - edges"}])
def test_nothing_to_climb_returns_the_photograph(values: dict[str, Any]) -> None:
    """Without steps, or with a gradient of zeros, the picture comes back to the last bit, shifts undone."""
    picture = photograph(45, 37)
    assert torch.equal(dream(picture, TINY, params(octaves=3, **values)).picture, picture)


def test_jitter_is_undone() -> None:
    """With steps too small to see, shifts of up to 32 pixels do not move the picture."""
    picture = photograph(45, 37)
    made = dream(picture, TINY, params(octaves=2, steps=5, step_size=1e-7, jitter=32)).picture
    assert (made - picture).abs().max() < 1e-4


def test_the_seed_decides_the_bits() -> None:
    """The same seed gives the same bits, another seed others, and no jitter none to differ by."""
    picture = photograph(40, 40)
    made = dream(picture, TINY, params(seed=1, octaves=2))
    again = dream(picture, TINY, params(seed=1, octaves=2))
    other = dream(picture, TINY, params(seed=2, octaves=2))
    assert torch.equal(made.picture, again.picture)
    assert made.objective == again.objective
    assert not torch.equal(made.picture, other.picture)
    still = [dream(picture, TINY, params(seed=seed, jitter=0)).picture for seed in (1, 2)]
    assert torch.equal(*still)


def test_a_dream_leaves_the_random_state_and_its_input_alone() -> None:
    """Neither torch's global generator nor the photograph handed in is touched."""
    picture = photograph(40, 40)
    before, state = picture.clone(), torch.random.get_rng_state()
    dream(picture, TINY, params())
    assert torch.equal(picture, before)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("octaves", [1, 3])
@pytest.mark.parametrize("kind", [nn.Parameter, tv_tensors.Image])
def test_a_picture_may_be_a_tensor_of_any_kind(kind: Any, octaves: int) -> None:
    """One that wants gradients, or is torchvision's, is dreamed as a plain one, and left alone."""
    picture = photograph(40, 44)
    given = kind(picture.clone())
    made = dream(given, TINY, params(octaves=octaves)).picture
    assert type(made) is Tensor
    assert torch.equal(made, dream(picture, TINY, params(octaves=octaves)).picture)
    assert torch.equal(given.detach().as_subclass(Tensor), picture)


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"octaves": 1},
        {"rescale": "picture"},
        {"blend": 0.4},
        {"start": "blend", "noise": 0.3},
        {"keep_colors": True},
        {"octave_sizes": "30 70"},
        {"objective": "things:strong(2)"},
    ],
)
@pytest.mark.parametrize("size", [(45, 37), (9, 60)])
def test_samples_dream_as_the_floats_that_they_stand_for(
    kind: torch.dtype, values: dict[str, Any], size: tuple[int, int]
) -> None:
    """A photograph of 8 or 16 bits, in rows of RGB as files have it, gives the bits that its floats give."""
    most = {torch.uint8: 255, torch.uint16: 65_535}[kind]
    rows = (photograph(*size)[0].permute(1, 2, 0).clamp(0, 1) * most).to(kind).contiguous()
    samples, floats = (picture.permute(2, 0, 1)[None] for picture in (rows, rows.float() / most))
    short = {"octaves": 3, "steps": 2} | values
    before = samples.clone()
    made, wanted = (dream(picture, TINY, params(**short)) for picture in (samples, floats))
    assert torch.equal(made.picture, wanted.picture)
    assert made.objective == wanted.objective
    assert torch.equal(samples, before)


@pytest.mark.parametrize(("kind", "most"), [(torch.uint8, 255), (torch.uint16, 65_535)])
def test_every_sample_becomes_the_float_that_images_make_of_it(kind: torch.dtype, most: int) -> None:
    """From 0 to full scale, to the last bit."""
    samples = torch.arange(most + 1, dtype=torch.int32).to(kind)
    assert np.array_equal(unit(samples).numpy(), images.unit(samples.numpy()))


def test_other_numbers_are_refused() -> None:
    """Of whole numbers of other kinds nobody could tell what is white."""
    with pytest.raises(ImageError, match=r"a picture of torch.int64 is refused; allowed are floats in \[0, 1\], and"):
        dream(torch.ones(1, 3, 40, 40, dtype=torch.int64), TINY, params())


@given(
    st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.integers(1, 12),
    st.floats(1.01, 4.0),
    st.integers(1, 200),
)
def test_octave_sizes(size: tuple[int, int], octaves: int, scale: float, least: int) -> None:
    """The last octave is the picture's size, each is `octave_scale` to the next, and none is under the least."""
    sizes = octave_sizes(size, make_params({"octaves": octaves, "octave_scale": scale}), least)
    assert len(sizes) == octaves
    assert sizes[-1] == size
    for back, found in enumerate(reversed(sizes)):
        for length, whole in zip(found, size, strict=True):
            assert length >= min(least, whole)
            assert length == min(least, whole) or math.isclose(length, whole / scale**back, abs_tol=0.51)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (2, 3), (31, 64)])
@pytest.mark.parametrize("values", [{}, {"smoothing": 1.0, "overlap": 4, "tile_size": 32}])
def test_any_size_comes_back_in_size_and_range(size: tuple[int, int], values: dict[str, Any]) -> None:
    """Tiny and long thin pictures dream; the result has their size, lies in [0, 1] and differs from them."""
    picture = photograph(*size)
    made = dream(picture, TINY, params(octaves=3, steps=2, **values)).picture
    assert made.shape == picture.shape
    assert made.dtype == torch.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert not torch.equal(made, picture)


def test_large_steps_stay_in_range() -> None:
    """Steps of a whole range, over black and white, are clamped to [0, 1]."""
    picture = torch.cat([torch.zeros(1, 3, 20, 20), torch.ones(1, 3, 20, 20)], 3)
    made = dream(picture, TINY, params(octaves=2, step_size=1.0)).picture
    assert made.min() == 0
    assert made.max() == 1


def test_detail_is_carried_to_the_next_octave() -> None:
    """What small octaves dreamed is in the result: with steps in the small ones it differs from the last alone."""
    picture = photograph(64, 64)
    one = dream(picture, TINY, params(octaves=1, jitter=0)).picture
    three = dream(picture, TINY, params(octaves=3, jitter=0)).picture
    assert (three - picture).abs().mean() > 1.2 * (one - picture).abs().mean()


def test_progress_and_curve_count_every_step() -> None:
    """`on_step` is told 1 to the total in order, and the objective has a value for each step."""
    told: list[tuple[int, int]] = []
    made = dream(
        photograph(30, 30), TINY, params(octaves=3, steps=4), on_step=lambda done, total: told.append((done, total))
    )
    assert told == [(done, 12) for done in range(1, 13)]
    assert len(made.objective) == 12
    assert all(math.isfinite(value) for value in made.objective)


def test_smoothing_takes_out_fine_detail() -> None:
    """With smoothing, neighbouring pixels of the change are more alike."""
    picture = photograph(48, 48)

    def roughness(sigma: float) -> float:
        change = dream(picture, TINY, params(steps=1, smoothing=sigma, jitter=0)).picture - picture
        return ((change[..., 1:] - change[..., :-1]).abs().mean() / change.abs().mean()).item()

    assert roughness(2.0) < 0.5 * roughness(0.0)


def test_a_layer_or_channel_that_is_not_there_is_told_before_a_step() -> None:
    """A plan for an unknown layer or channel is refused by name."""
    with pytest.raises(NetError, match="no layer 'thing'; did you mean `things`"):
        goal(TINY, photograph(8, 8), objective="edges + thing")
    with pytest.raises(ObjectiveError, match="channels 0 to 15, not 16"):
        goal(TINY, photograph(8, 8), objective="things:16")


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "momentum"},
        {"optimizer": "adam"},
        {"schedule": "linear"},
        {"schedule": "cosine"},
        {"normalize": "laplacian"},
        {"smoothing": 0.5, "smoothing_growth": 2.0},
        {"jitter_scale": 0.1, "jitter_rotate": 10.0},
        {"rescale": "picture", "blend": 0.2},
        {"start": "noise"},
        {"start": "natural", "size": "40x60"},
        {"start": "blend", "noise": 0.3},
        {"octave_sizes": "24 36 50"},
        {"objective": "edges | parts | things"},
        {"keep_colors": True},
        {"mask": "mask.png"},
        {"until": 0.001},
        {"tile_size": 32, "keep_colors": True, "mask": "mask.png", "optimizer": "momentum"},
    ],
)
def test_ascent_ascends_whatever_shapes_it(values: dict[str, Any]) -> None:
    """With every way to start, to move, to shape a gradient and to step, the last octave's objective rises."""
    wanted = {"octaves": 3, "steps": 6, "jitter": 3} | values
    made = dream(photograph(40, 52), TINY, params(**wanted), read=lambda name: png(photograph(20, 26, seed=3)))
    assert made.objective[-1] > made.objective[-6]
    assert made.picture.isfinite().all()


def test_explicit_sizes_and_noise_decide_the_pictures_size() -> None:
    """`octave_sizes` may end smaller or larger than the photograph; noise of a stated size needs no photograph."""
    assert dream(photograph(40, 60), TINY, params(octave_sizes="20 30")).picture.shape == (1, 3, 20, 30)
    assert dream(photograph(40, 60), TINY, params(octave_sizes="30 90")).picture.shape == (1, 3, 60, 90)
    assert dream(None, TINY, params(start="noise", size="33x41")).picture.shape == (1, 3, 33, 41)
    with pytest.raises(ParamsError, match="start: `image` needs a photograph"):
        dream(None, TINY, params())


def test_a_mask_says_where_it_dreams() -> None:
    """Where the mask is black the photograph stays to the last bit, where it is white it changes, between, less."""
    picture = photograph(48, 60)
    mask = torch.zeros(1, 3, 48, 60)
    mask[..., 20:40], mask[..., 40:] = 0.5, 1.0
    made = dream(picture, TINY, params(mask="mask.png", jitter=4), read=lambda name: png(mask)).picture
    change = (made - picture).abs()
    assert not change[..., :20].any()
    assert 0 < change[..., 20:40].mean() < 0.6 * change[..., 40:].mean()


def test_colours_are_kept() -> None:
    """With `keep_colors` the differences between red, green and blue stay, and the brightness does not."""
    picture = 0.4 + 0.2 * photograph(40, 52)
    made = dream(picture, TINY, params(keep_colors=True, step_size=0.003)).picture
    assert torch.allclose(made[:, 0] - made[:, 1], picture[:, 0] - picture[:, 1], atol=1e-5)
    assert (made.mean(1) - picture.mean(1)).abs().mean() > 1e-3


def test_an_octave_ends_when_it_no_longer_rises() -> None:
    """With `until` a dream takes fewer steps than it may, and at least the six that it looks at."""
    values = {"octaves": 2, "steps": 60, "jitter": 0, "step_size": 0.02}
    taken = len(dream(photograph(40, 52), TINY, params(until=0.2, **values)).objective)
    assert 12 <= taken < 120
    assert len(dream(photograph(40, 52), TINY, params(**values)).objective) == 120


def test_classes_may_have_names_of_ones_own() -> None:
    """With `labels`, a class is found by its line in that file; a name that is not there is told with the nearest."""
    read = lambda name: b"cat\ndog\nRed fox\n"  # noqa: E731
    named = goal(TINY, photograph(40, 40), read, objective="class:red_fox", labels="names.txt")
    numbered = goal(TINY, photograph(40, 40), objective="class:2")
    assert torch.equal(named.gradient(photograph(40, 40)).pixels, numbered.gradient(photograph(40, 40)).pixels)
    with pytest.raises(NetError, match="knows no class 'dot'; did you mean `dog`"):
        goal(TINY, photograph(40, 40), read, objective="class:dot", labels="names.txt")


@pytest.mark.parametrize("net", ["tiny", "dreamnet", "mobilenet_v3_small"])
def test_bfloat16_points_the_same_way(net: str) -> None:
    """A gradient computed in bfloat16 is float32, finite and nearly parallel to the one computed in float32."""
    loaded = load_net(net, "default" if net in ("tiny", "dreamnet") else "random")
    layer = {"tiny": "things", "dreamnet": "mix8c", "mobilenet_v3_small": "features.4"}[net]
    photo = photograph(96, 128)
    exact, rough = (
        prepare(loaded, make_params({"net": net, "objective": layer, "precision": precision}), photo)[-1].gradient(
            photo
        )
        for precision in ("float32", "bfloat16")
    )
    assert rough.pixels.dtype == rough.objective.dtype == torch.float32
    cosine = F.cosine_similarity(exact.pixels.flatten(), rough.pixels.flatten(), 0)
    assert 0.9 < cosine < 0.999999
    assert float(rough.objective) == pytest.approx(float(exact.objective), rel=0.02)


def test_bfloat16_leaves_the_net_as_it_is() -> None:
    """A reader of another precision shares nothing with the net: float32 gives the same bits before and after."""
    photo = photograph(96, 128)
    before = goal(TINY, photo).gradient(photo).pixels
    goal(TINY, photo, precision="bfloat16").gradient(photo)
    fresh = load_net("tiny")
    goal(fresh, photo, precision="bfloat16").gradient(photo)
    assert torch.equal(goal(fresh, photo).gradient(photo).pixels, before)
