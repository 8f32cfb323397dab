"""Objectives that fanning out cannot follow, said before anything starts: what looks at the whole picture."""

import torch

from dreamjobs import objectives
from dreamjobs.errors import ObjectiveError
from dreamjobs.fanout.plan import LEAST_SIDE
from dreamjobs.nets import Net
from dreamjobs.objectives.expressions import Kind, Layer, Style, TextMatch
from dreamjobs.octaves import prepare
from dreamjobs.octaves.context import ReadFile
from dreamjobs.params import DreamParams


def check_objective(net: Net, params: DreamParams, read: ReadFile) -> None:
    """Raise ObjectiveError for one that cannot be fanned out, where `fan_out_mpx` asks for it."""
    if params.fan_out_mpx is None:
        return
    for objective in objectives.parse(params.objective):
        for term in objective.terms:
            if _sees_all(term.what):
                raise _needs_all(str(term.what))
    for goal in prepare(net, params, torch.full((1, 3, 64, 64), 0.5), read):
        layers = f"{', '.join(goal.reader.layers)} of {net.name}"
        if goal.reader.read_by_head:
            raise _needs_all(layers)
        if goal.reader.least_side > LEAST_SIDE:
            raise ObjectiveError(
                f"{layers} needs pictures of {goal.reader.least_side} pixels each way, and a fanned-out octave may "
                f"have {LEAST_SIDE}; leave fan_out_mpx out, and one actor dreams the picture"
            )


def _sees_all(what: Kind) -> bool:
    return isinstance(what, Style | TextMatch) or (isinstance(what, Layer) and what.spot is not None)


def _needs_all(what: str) -> ObjectiveError:
    return ObjectiveError(
        f"{what} looks at the whole picture, which no fanned-out tile sees; leave fan_out_mpx out, and one actor "
        "dreams the picture"
    )
