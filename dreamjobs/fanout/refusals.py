"""What fanning out cannot do, said before anything starts: a tile must not need to know what the others see."""

import torch

from dreamjobs import objectives
from dreamjobs.errors import ObjectiveError, ParamsError
from dreamjobs.nets import Net
from dreamjobs.objectives.expressions import Kind, Layer, Style, TextMatch
from dreamjobs.octaves import prepare
from dreamjobs.octaves.context import ReadFile, read_local
from dreamjobs.params import DreamParams

_ALLOWED: dict[str, tuple[object, ...]] = {
    "start": ("image",),
    "optimizer": ("ascent",),
    "normalize": ("mean_abs", "rms", "std"),
    "until": (0.0,),
    "jitter_scale": (0.0,),
    "jitter_rotate": (0.0,),
}


def check(net: Net, params: DreamParams, read: ReadFile = read_local) -> None:
    """Raise for parameters or an objective that cannot be fanned out, where `fan_out_mpx` asks for it.

    Raises:
        ParamsError, ObjectiveError
    """
    if params.fan_out_mpx is None:
        return
    _check_params(params)
    for objective in objectives.parse(params.objective):
        for term in objective.terms:
            if _sees_all(term.what):
                raise _needs_all(str(term.what))
    for goal in prepare(net, params, torch.full((1, 3, 64, 64), 0.5), read):
        if goal.reader.read_by_head:
            raise _needs_all(f"{', '.join(goal.reader.layers)} of {net.name}")


def _check_params(params: DreamParams) -> None:
    for name, allowed in _ALLOWED.items():
        value = getattr(params, name)
        if value not in allowed:
            words = ", ".join(f"`{option}`" for option in allowed)
            raise ParamsError(f"{name}: {value!r} is refused where fan_out_mpx is set; allowed is {words}")
    if 4 * params.fan_out_overlap > params.fan_out_tile:
        raise ParamsError(
            f"fan_out_overlap: {params.fan_out_overlap} is refused with a fan_out_tile of {params.fan_out_tile}; "
            "allowed is at most a quarter of it"
        )


def _sees_all(what: Kind) -> bool:
    return isinstance(what, Style | TextMatch) or (isinstance(what, Layer) and what.spot is not None)


def _needs_all(what: str) -> ObjectiveError:
    return ObjectiveError(
        f"{what} looks at the whole picture, which no fanned-out tile sees; leave fan_out_mpx out, and one actor "
        "dreams the picture"
    )
