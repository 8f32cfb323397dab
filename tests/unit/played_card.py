"""A graphics card that is played tensor by tensor: they say that they lie on it, and are computed on the CPU.

As there, what is computed from tensors of two devices is refused. Not shown is what is a card's alone: its memory, its
kernels and their rounding, that it runs behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CARD = torch.device("cuda", 0)

_EITHER = (
    "copy_",
    "_to_copy",
    "index",
    "index_put",
    "index_put_",
    "_index_put_impl_",
)  # operations that may be of two devices
_TILE = 1 << 28  # bytes


class OnCard(Tensor):
    """A tensor on the card; `held` is where its numbers lie. To torch's own code it is of the device `meta`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:  # not of a subclass
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device("meta"),
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {}, asked_for_meta=False)


class _Asked(TorchFunctionMode):
    """Sees what is asked of torch before its own code does."""

    is_for_meta = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], OnCard):
            if func == Tensor.device.__get__:
                return CARD
            if func == Tensor.is_meta.__get__:
                return False
            if func is Tensor.tolist:
                return args[0].cpu().tolist()
            if func is Tensor.new_tensor:
                return torch.tensor(args[1], dtype=args[0].dtype).to(CARD)
            if func is Tensor.__getitem__ and isinstance(args[1], tuple):
                args = args[0], tuple(torch.tensor(at) if isinstance(at, list) else at for at in args[1])
        devices = [torch.device(name) for name in (*args, *kwargs.values()) if _is_device(name)]
        before, self.is_for_meta = self.is_for_meta, any(device.type == "meta" for device in devices)
        try:
            return func(*map(_numbered, args), **{name: _numbered(value) for name, value in kwargs.items()})
        finally:
            self.is_for_meta = before


class _Computed(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves this base untyped
    """Computes what torch's own code comes down to."""

    def __init__(self, asked: _Asked) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._asked = asked

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {}, asked_for_meta=self._asked.is_for_meta)


def _compute(func: Any, args: Any, kwargs: dict[str, Any], *, asked_for_meta: bool) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    name, device = func.overloadpacket.__name__, kwargs.get("device")
    if name not in _EITHER and len({isinstance(tensor, OnCard) for tensor in tensors if tensor.ndim}) > 1:
        raise RuntimeError(f"{func} of tensors on {[str(tensor.device) for tensor in tensors]}")
    on_card = any(isinstance(tensor, OnCard) for tensor in tensors)
    if device is not None:
        # Torch's own code makes tensors where those are that it is given, by their own word on `meta`.
        with_card = device.type == "meta" and not asked_for_meta and not any(type(one) is Tensor for one in tensors)
        on_card = device.type == "cuda" or with_card
        kwargs = kwargs | {"device": torch.device("cpu") if on_card else device}
    made = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if func._schema.is_mutable:
        return args[0]
    return tree_map(lambda leaf: OnCard(leaf) if on_card and isinstance(leaf, Tensor) else leaf, made)


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, OnCard) else leaf


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value in ("cuda", "meta"))


def _numbered(value: Any) -> Any:
    return CARD if _is_device(value) and torch.device(value).type == "cuda" else value


@contextmanager
def played_card() -> Iterator[None]:
    """Within it torch has a card, with room for two tiles and a half."""
    told = {
        "_lazy_init": lambda: None,
        "reset_peak_memory_stats": lambda device: None,
        "memory_allocated": lambda device: 0,
        "memory_reserved": lambda device: 0,
        "max_memory_allocated": lambda device: _TILE,
        "mem_get_info": lambda device: (int(2.5 * _TILE / 0.6), 1 << 40),
    }
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    # A module that is brought to another device gets tensors of another kind, not other numbers in its own.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with patch.multiple(torch.cuda, **told), _Asked() as asked, _Computed(asked):  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
