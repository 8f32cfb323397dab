"""Parameters that fanning out cannot follow, told without torch: a tile must not need to know what the others see."""

from dreamjobs.errors import ParamsError
from dreamjobs.params import DreamParams

_ALLOWED: dict[str, tuple[object, ...]] = {
    "start": ("image",),
    "optimizer": ("ascent",),
    "normalize": ("mean_abs", "rms", "std"),
    "until": (0.0,),
    "jitter_scale": (0.0,),
    "jitter_rotate": (0.0,),
}

PARAMETERS = ("fan_out_mpx", "fan_out_tile", "fan_out_overlap", *_ALLOWED)
"""All that `check_params` looks at."""


def check_params(params: DreamParams) -> None:
    """Raise ParamsError for parameters that cannot be fanned out together, where `fan_out_mpx` asks for it."""
    if params.fan_out_mpx is None:
        return
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
