"""Likeness to a text: a smooth scalar of the picture that ascent can raise, by a small untrained CLIP."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor

from dreamjobs.errors import NetError
from dreamjobs.nets import clip
from dreamjobs.nets.clip import text_matcher

CPU = torch.device("cpu")
SMALL = "dreamjobs-small"  # a vision transformer of two layers on 32 x 32 pixels
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the small model known to OpenCLIP, and compute with one thread: it is too small to share out."""
    file = tmp_path_factory.mktemp("models") / f"{SMALL}.json"
    file.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(file)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No download, and every test loads its model anew."""
    monkeypatch.setenv("DREAMJOBS_CLIP_WEIGHTS", "random")
    clip._load.cache_clear()
    yield
    clip._load.cache_clear()


def photograph(height: int = 40, width: int = 56) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def matcher(text: str = "a city of towers") -> Callable[[Tensor], Tensor]:
    return text_matcher(text, CPU, SMALL)


@pytest.mark.parametrize("size", [(40, 56), (32, 32), (90, 31), (1, 7)])
def test_likeness_is_a_cosine(size: tuple[int, int]) -> None:
    """One number from -1 to 1, for pictures of any size."""
    likeness = matcher()(photograph(*size))
    assert likeness.shape == ()
    assert -1 <= likeness <= 1


def test_steps_uphill_make_it_likelier() -> None:
    """Following the gradient raises the likeness at every step."""
    match, picture, found = matcher(), photograph(), []
    for _ in range(4):
        picture = picture.detach().requires_grad_()
        likeness = match(picture)
        (slope,) = torch.autograd.grad(likeness, picture)
        found.append(float(likeness.detach()))
        picture = (picture + 0.01 * slope / slope.abs().mean()).clamp(0, 1)
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.01


def test_the_gradient_is_that_of_the_likeness() -> None:
    """A small change of the picture changes the likeness by slope times change."""
    match, picture = matcher(), photograph().requires_grad_()
    (slope,) = torch.autograd.grad(match(picture), picture)
    change = 1e-2 * slope / slope.norm()
    with torch.no_grad():
        rise = match(picture + change) - match(picture - change)
    assert float(rise) == pytest.approx(float(2 * (slope * change).sum()), rel=0.05)


def test_every_pixel_counts() -> None:
    """The whole picture is looked at, so no part of a wide one is without a gradient."""
    picture = photograph(24, 96).requires_grad_()
    (slope,) = torch.autograd.grad(matcher()(picture), picture)
    assert (slope.abs().amax((0, 1)) > 0).all()


def test_two_views_of_what_is_no_square() -> None:
    """The whole picture and its middle square; of a square picture of the model's size, itself."""
    wide = torch.zeros(1, 3, 32, 96)
    wide[..., 32:64] = 1
    whole, middle = clip._views(wide, (32, 32))
    assert middle.min() == 1
    assert whole.mean() == pytest.approx(1 / 3, abs=0.01)
    square = photograph(32, 32)
    assert torch.allclose(clip._views(square, (32, 32)), square, atol=1e-6)


def test_the_same_bits_each_time() -> None:
    """Loading a model again, with torch's generator elsewhere, gives the same likeness; the generator is left alone."""
    torch.manual_seed(1)
    first = matcher()(photograph())
    drawn = torch.rand(3)
    clip._load.cache_clear()
    torch.manual_seed(1)
    assert torch.equal(matcher()(photograph()), first)
    assert torch.equal(torch.rand(3), drawn)


def test_other_texts_give_other_likeness() -> None:
    """The text has a say, and one of any length is taken."""
    found = {float(matcher(text)(photograph())) for text in ("a dog", "a cathedral", "very " * 200 + "long")}
    assert len(found) == 3


def test_a_model_is_loaded_once_and_frozen() -> None:
    """A second text takes the model that is there; nothing in it asks for a gradient."""
    matcher("a dog"), matcher("a cat")
    assert clip._load.cache_info().misses == 1
    model = clip._load(SMALL, "random", "laion2b_s34b_b79k", "cpu").model
    assert not model.training
    assert not any(value.requires_grad for value in model.parameters())


def test_weights_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint named in the environment is used in place of published weights."""
    expected = matcher()(photograph())
    model = clip._load(SMALL, "random", "laion2b_s34b_b79k", "cpu").model
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    monkeypatch.setenv("DREAMJOBS_CLIP_WEIGHTS", str(tmp_path / "clip.pt"))
    assert torch.equal(matcher()(photograph()), expected)


@pytest.mark.parametrize("broken", ["no checkpoint", "of another model"])
def test_files_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Bytes of another kind and weights of another model are refused with the file's name."""
    file = tmp_path / "clip.pt"
    if broken == "no checkpoint":
        file.write_bytes(b"no checkpoint")
    else:
        torch.save({"weight": torch.zeros(2)}, file)
    monkeypatch.setenv("DREAMJOBS_CLIP_WEIGHTS", str(file))
    with pytest.raises(NetError, match=r"clip\.pt' of the CLIP model dreamjobs-small cannot be loaded"):
        matcher()


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, its value and what it may be."""
    monkeypatch.setenv("DREAMJOBS_CLIP_WEIGHTS", "/nowhere/clip.pt")
    with pytest.raises(NetError, match=r"DREAMJOBS_CLIP_WEIGHTS=/nowhere/clip\.pt is no file"):
        matcher()


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what failed and which way round it there is."""

    def offline(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.delenv("DREAMJOBS_CLIP_WEIGHTS")
    monkeypatch.setattr("open_clip.factory.download_pretrained", offline)
    with pytest.raises(NetError, match=r"(?s)laion2b.*ViT-B-32.*no route to host.*DREAMJOBS_CLIP_WEIGHTS=FILE"):
        text_matcher("a dog", CPU)


def test_unknown_models() -> None:
    """A misspelt model is answered with the nearest one."""
    with pytest.raises(NetError, match="'ViT-B-23' is not known; did you mean `ViT-B-32`"):
        text_matcher("a dog", CPU, "ViT-B-23")


def test_nothing_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading sets up no logging of its own, as calls on the root logger do where it has no handler."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    matcher()
    assert not logging.getLogger().handlers


def test_without_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing the message says what to install."""
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(NetError, match=r'pip install "dreamjobs\[text\]"'):
        matcher()
