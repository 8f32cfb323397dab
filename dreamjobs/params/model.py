"""The model of the parameters: what each may be, what it is by default, and what it means."""

import hashlib
import json
from collections.abc import Hashable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

DEFAULT_NET = "dreamnet"
DEFAULT_OBJECTIVE = "mix8c"


def _whole(value: object) -> object:
    """Let 4.0 stand for 4: YAML, pandas and Parquet turn a column of whole numbers with a gap into floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: object) -> object:
    """Refuse what YAML made of an unquoted word (a number, a date) with the words to mend it."""
    if isinstance(value, str):
        return value
    raise ValueError(f"text is needed, not {type(value).__name__}; quote it")


def _digits(value: object) -> object:
    """Let "64" stand for 64, since a column of a manifest that also holds words holds numbers as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, BeforeValidator(_text)]


def _size(value: object) -> object:
    """Let 512, and 512.0, stand for "512": a size is text so that a pair is one value."""
    number = _whole(value)
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else value


def _flag(value: object) -> object:
    """Let "true" and "false" stand for themselves, and so 0 and 1, as tables have them."""
    return {"true": True, "false": False, 1: True, 0: False}.get(value, value) if isinstance(value, Hashable) else value


SizeText = Annotated[
    str, BeforeValidator(_size), Field(pattern=r"^[1-9]\d{0,4}(x[1-9]\d{0,4})?$", examples=["512", "512x768"])
]
SizesText = Annotated[
    str, BeforeValidator(_size), Field(pattern=r"^[1-9]\d{0,5}( [1-9]\d{0,5}){0,31}$", examples=["256 384 512"])
]
Flag = Annotated[bool, BeforeValidator(_flag)]


class DreamParams(BaseModel):
    """Everything that decides what a dream of a given photograph looks like."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    net: Text = Field(DEFAULT_NET, min_length=1, description="the built-in net, or a torchvision classifier by name")
    weights: Text = Field(
        "default",
        min_length=1,
        description="`default`, a torchvision name such as `IMAGENET1K_V1`, a file (local or `s3://`: safetensors "
        "or a state dict), or `random` (seeded, untrained)",
    )
    labels: Text | None = Field(
        None,
        min_length=1,
        description="a text file, local or `s3://`, with the names of the net's classes, a line each",
    )
    objective: Text = Field(
        DEFAULT_OBJECTIVE,
        min_length=1,
        description="what is made larger: an expression such as `mix8d`, `mix8c:3,7`, `class:lion`, "
        "`mix8d + 0.5*style(mix4b, wave.jpg)`; see [objectives](objectives.md)",
    )
    start: Literal["image", "noise", "natural", "blend"] = Field(
        "image",
        description="what is dreamed upon: the photograph, grey noise, noise with the colours and scales of "
        "photographs, or the photograph with noise blended in",
    )
    noise: float = Field(0.5, ge=0.0, le=1.0, description="share of noise where `start` is `blend`")
    size: SizeText | None = Field(
        None,
        description="size of the picture where `start` is noise, as height x width: `512` or `512x768`; "
        "default the photograph's",
    )
    octaves: Whole = Field(4, ge=1, le=32, description="sizes dreamed in turn, small to large")
    octave_scale: float = Field(1.4, gt=1.0, le=8.0, description="ratio of one octave's size to the one before")
    octave_sizes: SizesText | None = Field(
        None,
        description="the octaves' longer sides in pixels instead, small to large: `256 384 512`; the picture has the "
        "last size",
    )
    rescale: Literal["detail", "picture"] = Field(
        "detail",
        description="what is enlarged from one octave to the next: what was dreamed so far, added to the photograph, "
        "or the whole picture",
    )
    blend: float = Field(0.0, ge=0.0, le=1.0, description="share of the photograph mixed in as each octave begins")
    steps: Whole = Field(10, ge=0, le=10_000, description="gradient steps in each octave")
    step_size: float = Field(
        0.006, gt=0.0, le=1.0, description="pixel change of a step of mean strength; 1.5/255 as published"
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="how the size of steps goes to 0 within an octave, if it does"
    )
    optimizer: Literal["ascent", "momentum", "adam"] = Field(
        "ascent", description="how gradients become steps; `momentum` is of 0.9, `adam` of 0.9 and 0.999"
    )
    until: float = Field(
        0.0, ge=0.0, le=1.0, description="end an octave when a step raises the objective by less than this share of it"
    )
    jitter: Whole = Field(32, ge=0, le=4096, description="largest random shift of a step, in pixels")
    jitter_scale: float = Field(
        0.0, ge=0.0, le=0.5, description="largest random zoom of a step, as a share: 0.1 is 10%"
    )
    jitter_rotate: float = Field(0.0, ge=0.0, le=180.0, description="largest random rotation of a step, in degrees")
    normalize: Literal["mean_abs", "std", "rms", "laplacian"] = Field(
        "mean_abs",
        description="what the gradient is divided by, once over the whole picture; `laplacian`: each of its bands by "
        "its own `std`",
    )
    laplacian_levels: Whole = Field(4, ge=1, le=12, description="bands of `laplacian`, each half the scale of the last")
    smoothing: float = Field(
        0.0, ge=0.0, le=64.0, description="blur of the gradient: sigma of a cascade of Gaussians; 0 is off"
    )
    smoothing_growth: float = Field(
        0.0, ge=0.0, le=64.0, description="what is added to `smoothing` by the last step of an octave"
    )
    mask: Text | None = Field(
        None, min_length=1, description="an image, local or `s3://`: dreams where it is white, fades where it is grey"
    )
    keep_colors: Flag = Field(False, description="dream the brightness only: the photograph keeps its colours")
    frames: Whole = Field(1, ge=1, le=1_000_000, description="pictures in a sequence, each dreamed upon the one before")
    zoom: float = Field(1.0, ge=0.5, le=2.0, description="enlargement from one picture of a sequence to the next")
    rotate: float = Field(
        0.0, ge=-180.0, le=180.0, description="turn from one picture of a sequence to the next, in degrees"
    )
    shift_y: float = Field(0.0, ge=-4096.0, le=4096.0, description="shift down from one to the next, in pixels")
    shift_x: float = Field(0.0, ge=-4096.0, le=4096.0, description="shift to the right from one to the next, in pixels")
    carry: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of the last dreamed frame in the next, of a folder of frames",
    )
    carry_flow: Flag = Field(False, description="let what is carried move with what moves in the frames (optical flow)")
    fps: float = Field(24.0, gt=0.0, le=240.0, description="pictures a second of a sequence's video")
    video: Literal["webp", "mp4", "none"] = Field(
        "webp", description="what a sequence becomes beside numbered pictures; `mp4` needs the extra `video`"
    )
    seed: Whole = Field(0, ge=0, lt=2**63, description="seed of all that is random")
    max_side: Whole | None = Field(
        None, ge=1, le=1_000_000, description="shrink the photograph first so that its longer side is this"
    )
    tile_size: Whole = Field(
        1024,
        ge=32,
        le=65_536,
        description="side of a tile, up to an eighth more: bounds memory, does not change the gradient",
    )
    overlap: Annotated[Literal["exact", "auto"] | Annotated[Whole, Field(ge=0, le=4096)], BeforeValidator(_digits)] = (
        Field(
            "exact",
            description="context around a tile: `exact`, as much as the net sees; `auto`, the same while the tiles "
            "hold up to 3 times the picture's pixels, beyond that less ([large pictures](large.md)); or so many pixels",
        )
    )
    fan_out_mpx: float | None = Field(
        None,
        ge=0.0,
        le=1e6,
        description="dream a picture of more megapixels by many actors, a tile each, stitched as it goes; near to what "
        "one actor makes of it, not equal",
    )
    fan_out_tile: Whole = Field(
        2048,
        ge=256,
        le=65_536,
        description="side of a fanned-out tile in pixels, up to an eighth more, and more where it needs no overlap",
    )
    fan_out_overlap: Whole = Field(
        128,
        ge=0,
        le=4096,
        multiple_of=32,
        description="context around a fanned-out tile; over a quarter of it tiles are blended",
    )
    sync_steps: Whole = Field(
        1, ge=1, le=10_000, description="steps that fanned-out tiles take before they are stitched again"
    )
    threads: Whole = Field(
        1,
        ge=1,
        le=256,
        description="CPU threads an actor computes with; part of the recipe because it changes bytes",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="what the net computes in; `bfloat16` is up to twice as fast where the hardware has it, with a "
        "grainier gradient",
    )
    format: Literal["auto", "jpeg", "png", "webp", "tiff", "avif", "heic"] = Field(
        "auto", description="file format of the picture; `auto` keeps the source's where it can be written"
    )
    quality: Whole = Field(95, ge=1, le=100, description="quality of lossy formats")

    def canonical(self) -> str:
        """All parameters as JSON with sorted keys and no spaces: equal parameters, equal text."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of `canonical()`, in hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def changes(self) -> dict[str, Any]:
        """The parameters that differ from the defaults, in the order of the model."""
        return {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.default
        }


PARAM_NAMES: tuple[str, ...] = tuple(DreamParams.model_fields)
CELL_NAMES: tuple[str, ...] = ("preset", *PARAM_NAMES)
"""What a manifest's column, a grid or a setting may be called: a parameter, or `preset`."""
