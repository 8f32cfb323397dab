"""How like a text a picture is, by a CLIP model (Radford et al.: Learning Transferable Visual Models, 2021).

The models and their weights are OpenCLIP's (Cherti et al. 2023), package open_clip_torch. A model is loaded at the
first text, once for a process and a device, and frozen. DREAMJOBS_CLIP_WEIGHTS=FILE takes its weights from a local
checkpoint in place of the download, DREAMJOBS_CLIP_WEIGHTS=random none at all: seeded noise, to try the plumbing.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamjobs.errors import NetError
from dreamjobs.nets.load import UNTRAINED_SEED
from dreamjobs.params import nearest

WEIGHTS_VARIABLE = "DREAMJOBS_CLIP_WEIGHTS"


@dataclass(frozen=True, eq=False)
class _Clip:
    """A loaded model, its tokenizer, and what it expects of a picture: size (h, w), mean and deviation (1, 3, 1, 1)."""

    model: Any
    tokenizer: Any
    size: tuple[int, int]
    mean: Tensor
    std: Tensor

    def of_text(self, text: str) -> Tensor:
        """A text's direction (1, d), of length 1."""
        with torch.no_grad():
            tokens = self.tokenizer([text]).to(self.mean.device)
            return F.normalize(self.model.encode_text(tokens), dim=-1)

    def of_views(self, views: Tensor) -> Tensor:
        """The directions (n, d), of length 1, of views (n, 3, h, w) in [0, 1] of the model's size."""
        return F.normalize(self.model.encode_image((views - self.mean) / self.std), dim=-1)


def text_matcher(
    text: str, device: torch.device, model: str = "ViT-B-32", pretrained: str = "laion2b_s34b_b79k"
) -> Callable[[Tensor], Tensor]:
    """A function from a picture (1, 3, h, w) in [0, 1] to its cosine similarity with the text, with gradient.

    The scalar, -1 to 1, is the mean over views of the picture: the whole of it, squeezed into the model's square, and
    its middle square unless it is one itself. No chance is in it. Of a text longer than the model's context (77 tokens)
    the beginning counts.

    Raises:
        NetError: without the package open_clip_torch, for an unknown model, and where weights cannot be had or do not
            fit the model.
    """
    clip = _load(model, os.environ.get(WEIGHTS_VARIABLE) or "", pretrained, str(device))
    wanted = clip.of_text(text)

    def likeness(picture: Tensor) -> Tensor:
        return (clip.of_views(_views(picture, clip.size)) @ wanted.T).mean()

    return likeness


def _views(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """The whole picture and its middle square, each brought to a size: (1 or 2, 3, *size).

    Not clamped: where bicubic overshoots, a clamp would leave the pixel without a gradient.
    """
    height, width = picture.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    parts = [picture]
    if height != width:
        parts.append(picture[..., top : top + side, left : left + side])
    return torch.cat([F.interpolate(part, size, mode="bicubic", antialias=True, align_corners=False) for part in parts])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCLIP from setting up the root logger, as logging by its functions does where it has no handler."""
    root = logging.getLogger()
    silent = logging.NullHandler()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)


@functools.lru_cache(maxsize=4)
@_quiet()
def _load(model: str, override: str, pretrained: str, device: str) -> _Clip:
    """A model with the weights that the override names: a file, `random`, or none, which stands for `pretrained`."""
    open_clip = _open_clip()
    if model not in open_clip.list_models():
        raise NetError(f"CLIP model {model!r} is not known{nearest(model, open_clip.list_models())}")
    if override and override != "random" and not os.path.isfile(override):
        raise NetError(f"{WEIGHTS_VARIABLE}={override} is no file; name an OpenCLIP checkpoint of {model}, or `random`")
    if override == "random":
        module = _untrained(open_clip, model)
    else:
        module = _trained(open_clip, model, os.path.abspath(override) if override else pretrained)
    module = module.eval().requires_grad_(False).to(device)
    expects = module.visual.preprocess_cfg
    size = expects["size"] if not isinstance(expects["size"], int) else (expects["size"],) * 2
    mean, std = (torch.tensor(expects[name], device=device).view(1, 3, 1, 1) for name in ("mean", "std"))
    return _Clip(module, _tokenizer(open_clip, model), tuple(size), mean, std)


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise NetError(
            f"a text takes the package open_clip_torch, which cannot be imported ({error}): "
            '`pip install "dreamjobs[text]"`'
        ) from None
    return open_clip


def _untrained(open_clip: Any, model: str) -> Any:
    """The model with values from a fixed seed; torch's own generator goes on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return open_clip.create_model(model, pretrained_text=False)


def _trained(open_clip: Any, model: str, weights: str) -> Any:
    """The model with weights of a published name, downloaded if need be, or of a file."""
    try:
        return open_clip.create_model(model, pretrained=weights)
    except MemoryError:
        raise
    except Exception as error:  # the download and the readers of checkpoints raise of everything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NetError(
            f"the weights {weights!r} of the CLIP model {model} cannot be loaded: {reason[0]}; "
            f"{WEIGHTS_VARIABLE}=FILE may name a local OpenCLIP checkpoint of this model"
        ) from error


def _tokenizer(open_clip: Any, model: str) -> Any:
    try:
        return open_clip.get_tokenizer(model)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise NetError(f"the tokenizer of the CLIP model {model} cannot be loaded: {error}; try ViT-B-32") from error
