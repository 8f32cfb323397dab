"""A net's name and weights become a module with its weights in it.

Weights travel as one blob of bytes (safetensors, or a state dict that `torch.load(weights_only=True)` accepts), read
once for a run and handed on; the SHA-256 of the blob is part of a job's identity. Nothing here unpickles code, and
only `module:callable`, which manifests may not use, runs any. Loading a net needs the package safetensors.
"""

import importlib
import importlib.resources
import io
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dreamjobs.errors import DreamjobsError, NetError
from dreamjobs.nets.tiny import Tiny
from dreamjobs.params import names_file, nearest
from dreamjobs.weights import Weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
UNTRAINED_SEED = 0


def read_file(path: str) -> bytes:
    """A local file's bytes; the default way to read weights."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NetError(f"weights {path!r} cannot be read: {error.strerror}") from None


def fetch_weights(net: str, weights: str, read: Callable[[str], bytes] = read_file) -> Weights:
    """The blob that `weights` stands for; `read` reads a path or URL.

    Raises:
        NetError: for a net or weights that are not known, or torchvision weights that cannot be downloaded.
    """
    if weights == "random":
        return Weights.of(_untrained(net))
    if weights == "default" and net in _BUILT_IN:
        return Weights.of(_BUILT_IN[net].weights())
    if weights == "default" and ":" in net:
        return Weights.of(_to_blob(_own(net).state_dict()))
    if weights == "default" or _is_published(net, weights):
        return Weights.of(_to_blob(_download(net, weights.upper())))
    if not names_file(weights):
        known = ["default", "random", *(_published(net) if _is_torchvision(net) else [])]
        raise NetError(f"weights {weights!r} of {net!r} are not known{nearest(weights, known)}; or name a file")
    return Weights.of(read(weights))


def build(net: str, weights: Weights) -> nn.Module:
    """The module of `net` in evaluation mode, float32, with these weights in it.

    Raises:
        NetError: for an unknown net, bytes that are no state dict, or weights of another net.
    """
    state = {name: value.float() if value.is_floating_point() else value for name, value in _parse(weights).items()}
    module = _empty(net)
    if net in _WITH_HEADS:
        state = {name: value for name, value in state.items() if not name.startswith(("aux", "AuxLogits"))}
    state = OrderedDict(state)
    state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]  # versions that some modules ask for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # batch counters have no gradient to keep; torch warns all the same
            missing, unknown = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise NetError(f"these weights do not fit {net!r}: {str(error).splitlines()[-1].strip()}") from None
    if missing or unknown:
        names = ", ".join([*missing, *unknown][:4])
        raise NetError(f"these weights do not fit {net!r}: {len(missing)} missing, {len(unknown)} unknown ({names})")
    return module.eval().requires_grad_(False)


def known_nets() -> list[str]:
    """The built-in nets, then torchvision's classifiers."""
    import torchvision

    return [*_BUILT_IN, *torchvision.models.list_models(module=torchvision.models)]


def labels(net: str) -> list[str]:
    """The names of a net's classes, in the order of its logits: ImageNet's, or none for a net of one's own."""
    import torchvision

    if ":" in net or net == "tiny":
        return []
    weights = torchvision.models.get_model_weights("squeezenet1_0" if net in _BUILT_IN else net)
    return list(weights["DEFAULT"].meta["categories"])


def preprocessing(module: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, for pixels in [0, 1], that the module expects its input normalised with.

    A net of one's own says so in attributes `mean` and `std`, three numbers each; otherwise ImageNet's are taken.
    """
    return _three(getattr(module, "mean", None), IMAGENET_MEAN), _three(getattr(module, "std", None), IMAGENET_STD)


def _three(value: object, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """The three numbers of a sequence or tensor; `otherwise` if it is something else, such as a layer."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
    except (TypeError, ValueError, RuntimeError):
        return otherwise
    return tuple(numbers) if len(numbers) == 3 else otherwise


@dataclass(frozen=True)
class _BuiltIn:
    """A net that ships with the package; `weights` gives its blob."""

    make: Callable[[], nn.Module]
    weights: Callable[[], bytes]


def _dreamnet() -> nn.Module:
    from dreamjobs.nets.dreamnet import DreamNet

    return DreamNet()


def _dreamnet_weights() -> bytes:
    return (importlib.resources.files("dreamjobs.nets") / "dreamnet.safetensors").read_bytes()


_BUILT_IN = {
    "dreamnet": _BuiltIn(_dreamnet, _dreamnet_weights),
    "tiny": _BuiltIn(Tiny, lambda: _untrained("tiny")),
}


_WITH_HEADS = ("googlenet", "inception_v3")


def _empty(net: str) -> nn.Module:
    """The module without values, in no time; with random ones if its making needs values (RegNet, one's own)."""
    if ":" in net:
        return _own(net)
    try:
        with torch.device("meta"):
            return _skeleton(net)
    except NotImplementedError:
        return _skeleton(net)


def _skeleton(net: str) -> nn.Module:
    if net in _BUILT_IN:
        return _BUILT_IN[net].make()
    if ":" in net:
        return _own(net)
    if not _is_torchvision(net):
        raise NetError(f"net {net!r} is not known{nearest(net, known_nets())}")
    import torchvision

    if net in _WITH_HEADS:
        # Their auxiliary heads are for training; `transform_input` would only undo our own normalisation.
        return torchvision.models.get_model(  # type: ignore[no-any-return]
            net, weights=None, aux_logits=False, init_weights=False, transform_input=False
        )
    return torchvision.models.get_model(net, weights=None)  # type: ignore[no-any-return]


def _is_torchvision(net: str) -> bool:
    import torchvision

    return net in torchvision.models.list_models(module=torchvision.models)


def _published(net: str) -> list[str]:
    import torchvision

    return [entry.name for entry in torchvision.models.get_model_weights(net)]


def _is_published(net: str, weights: str) -> bool:
    return _is_torchvision(net) and weights.upper() in [*_published(net), "DEFAULT"]


def _download(net: str, name: str) -> dict[str, Tensor]:
    import torchvision

    if not _is_torchvision(net):
        raise NetError(f"net {net!r} is not known{nearest(net, known_nets())}")
    entry = torchvision.models.get_model_weights(net)[name]
    try:
        return entry.get_state_dict(progress=False, check_hash=True)  # type: ignore[no-any-return]
    except OSError as error:
        raise NetError(
            f"the weights {entry.name} of {net} could not be downloaded from {entry.url} ({error}); "
            "give a file instead, weights=PATH; weights=random needs none, nor does the built-in net"
        ) from None


def _own(net: str) -> nn.Module:
    """The module that a person's own `module:callable` returns."""
    path, _, name = net.partition(":")
    try:
        made = getattr(importlib.import_module(path), name)()
    except Exception as error:  # a person's own code may raise anything
        raise NetError(
            f"net {net!r} cannot be made ({type(error).__name__}: {error}); "
            "module:callable names an importable function that returns a torch.nn.Module"
        ) from error
    if not isinstance(made, nn.Module):
        raise NetError(f"net {net!r} returned {type(made).__name__}; a torch.nn.Module is needed")
    return made


def _untrained(net: str) -> bytes:
    """Weights that keep the size of activations from layer to layer (He et al. 2015), from a fixed seed."""
    module = _skeleton(net)
    generator = torch.Generator().manual_seed(UNTRAINED_SEED)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return _to_blob(module.state_dict())


def _to_blob(state: dict[str, Tensor]) -> bytes:
    import safetensors.torch

    # Clones, because safetensors refuses tensors that share their memory, as tied layers do.
    plain = {name: value.clone(memory_format=torch.contiguous_format) for name, value in sorted(state.items())}
    return safetensors.torch.save(plain)


def _parse(weights: Weights) -> dict[str, Tensor]:
    import safetensors.torch

    try:
        if bytes(weights.data[8:9]) == b"{":  # a safetensors file: the length of its header, then JSON
            return safetensors.torch.load(bytes(weights.data))
        state = torch.load(io.BytesIO(weights.data), map_location="cpu", weights_only=True)
    except DreamjobsError:
        raise
    except Exception as error:  # the two readers raise of everything on bytes of another kind
        raise NetError(
            f"weights of {len(weights.data):,} bytes are neither safetensors nor a plain state dict: {error}"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise NetError("the weights file holds no state dict (names -> tensors); save module.state_dict()")
    return state
