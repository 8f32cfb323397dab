"""The sizes that a dream goes through, (h, w) in pixels. Whole numbers only, no pixels."""

from dreamjobs.params import DreamParams

Size = tuple[int, int]


def octave_sizes(size: Size, params: DreamParams, least_side: int = 1) -> list[Size]:
    """The octaves' sizes (h, w), small to large, for a picture of `size`.

    With `params.octave_sizes` each has that longer side, and the last may be larger or smaller than `size`; else the
    last is `size` and each is smaller than the next by `octave_scale`. No side is under `least_side`, unless the
    picture's own is; such a side keeps its length where it would shrink.
    """
    if params.octave_sizes:
        scales = [int(side) / max(size) for side in params.octave_sizes.split()]
    else:
        scales = [params.octave_scale**-octave for octave in reversed(range(params.octaves))]
    return [(_scaled(size[0], scale, least_side), _scaled(size[1], scale, least_side)) for scale in scales]


def pixel_steps(size: Size, params: DreamParams) -> int:
    """What a dream of a picture of `size` is worth: the steps asked for times their octave's pixels, over all frames.

    Steps are those that were asked for, even where `until` ends an octave sooner.
    """
    return params.frames * params.steps * sum(height * width for height, width in octave_sizes(size, params))


def _scaled(length: int, scale: float, least: int) -> int:
    return max(min(length, least), round(length * scale))
