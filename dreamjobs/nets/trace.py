"""What one position of a layer sees, found by watching the net's own operations; no table of nets.

The net is run on a tensor without data (torch's meta device), and each elementary operation says how the receptive
field grows (`dreamjobs.nets.rules`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from dreamjobs.nets.rules import PIXEL, WHOLE, Reach, after, takes_numbers


class FieldTracer(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves this base untyped
    """Follows receptive fields through whatever runs inside `with tracer:`, from a tensor given to `start`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reach: Any = WeakTensorKeyDictionary()

    def start(self, pixels: Tensor) -> None:
        """Take `pixels` (N, 3, H, W) for the picture."""
        self._reach[pixels] = PIXEL

    def reach(self, activations: Tensor) -> Reach:
        """What a position of `activations` sees: the whole picture, if it is no map of it."""
        reach: Reach = self._reach.get(activations, WHOLE)
        ordered = activations.ndim == 4 and (reach.y, reach.x, reach.packed) == (2, 3, None)
        return reach if ordered else WHOLE

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = _flat([*args, *(kwargs or {}).values()])
        tensors = [item for item in given if isinstance(item, Tensor)]
        sources = [(tensor, self._reach[tensor]) for tensor in tensors if tensor in self._reach]
        if sources:
            reach = after(func, args, tensors, sources, out)
            if reach.field:
                numbers = [item for item in given if isinstance(item, int | float)] if takes_numbers(func) else []
                # Of text, since the hashes of -1 and -2 are one.
                reach = replace(reach, numbers=hash(str((*numbers, *(source.numbers for _, source in sources)))))
            for result in _flat([out]):
                if isinstance(result, Tensor):
                    self._reach[result] = reach
        return out


def _flat(items: Sequence[Any]) -> list[Any]:
    return [leaf for item in items for leaf in (_flat(item) if isinstance(item, list | tuple) else [item])]
