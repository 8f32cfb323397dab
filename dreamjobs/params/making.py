"""Parameters from names and values."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dreamjobs.errors import ParamsError
from dreamjobs.params.model import CELL_NAMES, DreamParams
from dreamjobs.params.words import problems
from dreamjobs.presets import PRESETS


def make_params(values: Mapping[str, object], *, trusted: bool = False) -> DreamParams:
    """Validated parameters from names and values; None stands for the default of a known name.

    `preset` names a known program, whose defaults then stand in for ours.
    `trusted` allows `net="module:callable"`, a person's own code; leave it off for anything read from a file.

    Raises:
        ParamsError: naming each parameter that is wrong, what is allowed, and the nearest known name.
    """
    given = {name: value for name, value in values.items() if value is not None or name not in CELL_NAMES}
    preset = _preset(given.pop("preset", None))
    try:
        params = DreamParams.model_validate(preset | given)
    except ValidationError as error:
        raise ParamsError("; ".join(problems(error))) from None
    if ":" in params.net and not trusted:
        raise ParamsError(
            f"net: {params.net!r} names code; that is taken from --set net=... or from Python only, "
            "because a manifest is untrusted input"
        )
    return params


def _preset(name: object) -> dict[str, Any]:
    if name is None:
        return {}
    if not isinstance(name, str) or name not in PRESETS:
        known = ", ".join(f"`{preset}`" for preset in PRESETS)
        raise ParamsError(f"preset: {name!r} is refused; allowed is {known}")
    return dict(PRESETS[name])


def names_file(weights: str) -> bool:
    """Whether a value of `weights` is a path or url rather than a published name."""
    return "/" in weights or "." in weights
