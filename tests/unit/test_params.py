"""Parameters: validation, the canonical text, and messages that say what to do."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from unit.other_values import OTHER_VALUES

from dreamjobs.errors import ParamsError
from dreamjobs.images.encoding import Encoding
from dreamjobs.params import (
    CELL_NAMES,
    PARAM_NAMES,
    DreamParams,
    allowed,
    make_params,
    markdown_table,
    names_file,
    nearest,
)

_BETWEEN = {
    "octaves": (1, 32),
    "steps": (0, 10_000),
    "jitter": (0, 4096),
    "laplacian_levels": (1, 12),
    "frames": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
    "max_side": (1, 1_000_000),
    "tile_size": (32, 65_536),
    "fan_out_tile": (256, 65_536),
    "sync_steps": (1, 10_000),
    "threads": (1, 256),
    "quality": (1, 100),
}
_FLOATS = {
    "noise": (0.0, 1.0),
    "blend": (0.0, 1.0),
    "until": (0.0, 1.0),
    "jitter_scale": (0.0, 0.5),
    "jitter_rotate": (0.0, 180.0),
    "smoothing": (0.0, 64.0),
    "smoothing_growth": (0.0, 64.0),
    "zoom": (0.5, 2.0),
    "rotate": (-180.0, 180.0),
    "shift_y": (-4096.0, 4096.0),
    "shift_x": (-4096.0, 4096.0),
    "carry": (0.0, 1.0),
    "fan_out_mpx": (0.0, 1e6),
}
_ABOVE = {"octave_scale": (1.0, 8.0), "step_size": (0.0, 1.0), "fps": (0.0, 240.0)}
_CHOICES = {
    "start": ["image", "noise", "natural", "blend"],
    "rescale": ["detail", "picture"],
    "schedule": ["constant", "linear", "cosine"],
    "optimizer": ["ascent", "momentum", "adam"],
    "normalize": ["mean_abs", "std", "rms", "laplacian"],
    "precision": ["float32", "bfloat16"],
    "video": ["webp", "mp4", "none"],
    "format": ["auto", "jpeg", "png", "webp", "tiff", "avif", "heic"],
}
_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_side = st.integers(1, 99_999).map(str)

_drawn: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.integers(*ends) for name, ends in _BETWEEN.items()},
    **{name: st.floats(*ends) for name, ends in _FLOATS.items()},
    **{name: st.floats(*ends, exclude_min=True) for name, ends in _ABOVE.items()},
    **{name: st.sampled_from(choices) for name, choices in _CHOICES.items()},
    **dict.fromkeys(["keep_colors", "carry_flow"], st.booleans()),
    **dict.fromkeys(["weights", "objective", "mask", "labels"], _text),
    "net": st.from_regex(r"[a-z_0-9]{1,12}", fullmatch=True),
    "size": _side | st.tuples(_side, _side).map("x".join),
    "octave_sizes": st.lists(_side, min_size=1, max_size=5).map(" ".join),
    "fan_out_overlap": st.integers(0, 128).map(lambda number: 32 * number),
    "overlap": st.sampled_from(["exact", "auto"]) | st.integers(0, 4096),
}
values = st.fixed_dictionaries({}, optional=_drawn)


def test_every_parameter_is_drawn() -> None:
    """The laws below are tried on values of every parameter."""
    assert set(_drawn) == set(PARAM_NAMES)


@given(values)
def test_json_round_trip(given_values: dict[str, Any]) -> None:
    """The canonical text, read back as JSON, gives equal parameters with the same digest."""
    params = make_params(given_values)
    again = make_params(json.loads(params.canonical()))
    assert again == params
    assert again.digest() == params.digest()
    assert list(json.loads(params.canonical())) == sorted(PARAM_NAMES)
    assert all(getattr(params, name) == value for name, value in given_values.items())


@given(values, st.randoms(use_true_random=False))
def test_digest_ignores_the_order_of_names(given_values: dict[str, Any], random: Any) -> None:
    """Shuffling the names changes neither the text nor the digest."""
    names = list(given_values)
    random.shuffle(names)
    assert make_params({name: given_values[name] for name in names}).digest() == make_params(given_values).digest()


def test_digest_tells_every_parameter_apart() -> None:
    """Changing any one parameter changes the digest."""
    assert set(OTHER_VALUES) == set(PARAM_NAMES)
    digests = {make_params({name: value}).digest() for name, value in OTHER_VALUES.items()}
    assert len(digests | {DreamParams().digest()}) == len(PARAM_NAMES) + 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("octaves", 0, "a whole number, at least 1 and at most 32"),
        ("octaves", 33, "at most 32"),
        ("octaves", 4.5, "a whole number"),
        ("octaves", True, "a whole number"),
        ("octaves", "4", "a whole number"),
        ("octaves", [3, 4], "a whole number"),
        ("octave_scale", 1.0, "a number, above 1.0 and at most 8.0"),
        ("octave_scale", float("nan"), "above 1.0"),
        ("octave_scale", "1.4", "a number"),
        ("steps", -1, "at least 0 and at most 10,000"),
        ("step_size", 0, "above 0.0 and at most 1.0"),
        ("step_size", float("inf"), "at most 1.0"),
        ("jitter", 5000, "at most 4,096"),
        ("normalize", "max", "`mean_abs`, `std`, `rms`, `laplacian`"),
        ("start", "photo", "`image`, `noise`, `natural`, `blend`"),
        ("noise", 1.5, "a number, at least 0.0 and at most 1.0"),
        ("size", "512 x 768", "text such as `512` or `512x768` or null"),
        ("size", "0x5", "text such as `512` or `512x768` or null"),
        ("size", "0", "text such as `512` or `512x768` or null"),
        ("size", 512.5, "text such as `512` or `512x768` or null"),
        ("size", True, "text such as `512` or `512x768` or null"),
        ("size", "1x2x3", "text such as `512` or `512x768` or null"),
        ("size", "512\n", "text such as `512` or `512x768` or null"),
        ("octave_sizes", "256,384", "text such as `256 384 512` or null"),
        ("octave_sizes", "256  384", "text such as `256 384 512` or null"),
        ("octave_sizes", "", "text such as `256 384 512` or null"),
        ("octave_sizes", [256, 384], "text such as `256 384 512` or null"),
        ("rescale", "both", "`detail`, `picture`"),
        ("blend", -0.1, "at least 0.0"),
        ("schedule", "step", "`constant`, `linear`, `cosine`"),
        ("optimizer", "sgd", "`ascent`, `momentum`, `adam`"),
        ("until", 2, "at most 1.0"),
        ("jitter_scale", 0.6, "at most 0.5"),
        ("jitter_rotate", 181.0, "at most 180.0"),
        ("laplacian_levels", 0, "a whole number, at least 1 and at most 12"),
        ("smoothing_growth", float("nan"), "at least 0.0 and at most 64.0"),
        ("mask", "", "text or null"),
        ("mask", 5, "text or null"),
        ("labels", "", "text or null"),
        ("labels", 5, "text or null"),
        ("keep_colors", "yes", "true or false"),
        ("keep_colors", 2, "true or false"),
        ("smoothing", -0.5, "at least 0.0"),
        ("seed", 2**63, "below 9,223,372,036,854,775,808"),
        ("max_side", 0, "a whole number, at least 1 and at most 1,000,000 or null"),
        ("tile_size", 16, "at least 32"),
        ("overlap", -1, "`exact`, `auto` or a whole number, at least 0 and at most 4,096"),
        ("overlap", "all", "`exact`, `auto` or a whole number"),
        ("threads", 0, "at least 1"),
        ("format", "gif", "`auto`, `jpeg`, `png`"),
        ("quality", 101, "at most 100"),
        ("net", "", "text"),
        ("net", 3, "text"),
        ("weights", {"a": 1}, "text"),
        ("objective", 12.5, "text"),
        ("objective", "a\ud800", "text"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: object, says: str) -> None:
    """Every kind of bad value is an error that names the parameter, the value and what is allowed."""
    with pytest.raises(ParamsError) as error:
        make_params({name: value})
    assert str(error.value).startswith(f"{name}: {value!r} is refused; allowed is ")
    assert says in str(error.value)


def test_all_bad_values_are_told_at_once() -> None:
    """Two bad values and an unknown name are three complaints in one error, each once."""
    with pytest.raises(ParamsError) as error:
        make_params({"steps": -1, "overlap": "all", "ocatves": 3})
    assert [line.split(":")[0] for line in str(error.value).split("; ") if ":" in line] == [
        "steps",
        "overlap",
        "ocatves",
    ]


@pytest.mark.parametrize(("wrong", "right"), [("ocatves", "octaves"), ("stepsize", "step_size"), ("tilesize", "tile")])
def test_an_unknown_name_brings_the_nearest(wrong: str, right: str) -> None:
    """A misspelt parameter is answered with the one that was meant."""
    with pytest.raises(ParamsError, match=rf"{wrong}: no such parameter; did you mean `{right}"):
        make_params({wrong: 1})
    with pytest.raises(ParamsError, match=rf"{wrong}: no such parameter; did you mean `{right}"):
        make_params({wrong: None})


def test_a_name_like_none_brings_the_list() -> None:
    """Where no name is near, the known ones are listed, at most twenty."""
    assert nearest("zzz", ["one", "two"]) == "; known are one, two"
    assert nearest("zzz", [f"name{n}" for n in range(25)]).endswith("name19 and 5 more")


def test_code_is_refused_unless_trusted() -> None:
    """`module:callable` as a net is taken only where the caller vouches for it."""
    with pytest.raises(ParamsError, match=r"net: 'os:system' names code"):
        make_params({"net": "os:system"})
    assert make_params({"net": "mine:net"}, trusted=True).net == "mine:net"


def test_whole_floats_and_numbers_as_text_stand_for_numbers() -> None:
    """4.0 is 4 everywhere, and an overlap of "64" is 64, with equal digests."""
    floats = make_params({"octaves": 4.0, "max_side": 800.0, "overlap": 64.0, "octave_scale": 2})
    assert (
        floats.digest() == make_params({"octaves": 4, "max_side": 800, "overlap": "64", "octave_scale": 2.0}).digest()
    )
    assert type(floats.octaves) is int
    assert type(floats.octave_scale) is float


@pytest.mark.parametrize(
    ("name", "given", "stands_for"),
    [
        ("size", 512, "512"),
        ("size", 512.0, "512"),
        ("octave_sizes", 512, "512"),
        ("octave_sizes", 512.0, "512"),
        ("keep_colors", 1, True),
        ("keep_colors", 0.0, False),
        ("keep_colors", "true", True),
        ("keep_colors", "false", False),
    ],
)
def test_tables_and_yaml_may_write_it_their_way(name: str, given: object, stands_for: object) -> None:
    """A size as a number, a flag as 0, 1 or a word, are what they mean, of the same type and digest."""
    found = make_params({name: given})
    assert found.digest() == make_params({name: stands_for}).digest()
    assert type(getattr(found, name)) is type(stands_for)


def test_none_stands_for_the_default() -> None:
    """A name given as None is as good as not given."""
    assert make_params(dict.fromkeys(CELL_NAMES)) == DreamParams()


def test_changes_lists_what_differs_from_the_defaults() -> None:
    """`changes` has the parameters that differ, in the order of the model."""
    assert DreamParams().changes() == {}
    assert list(make_params({"seed": 3, "octaves": 5, "steps": 10}).changes().items()) == [("octaves", 5), ("seed", 3)]


def test_parameters_are_frozen() -> None:
    """A value cannot be changed after validation."""
    with pytest.raises(ValidationError, match="frozen"):
        DreamParams().steps = 3  # type: ignore[misc]


def test_the_table_lists_every_field() -> None:
    """The documentation's table has a row for each parameter, with default and range."""
    rows = markdown_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(PARAM_NAMES)
    assert all(row.count(" | ") == 3 for row in rows)
    assert "| `max_side` | none | a whole number, at least 1 and at most 1,000,000 or null |" in "\n".join(rows)
    assert allowed("quality") == "a whole number, at least 1 and at most 100"


def test_formats_are_those_that_images_writes() -> None:
    """The parameter `format` allows `auto` and exactly what the encoder can write."""
    assert set(get_args(DreamParams.model_fields["format"].annotation)) - {"auto"} == set(get_args(Encoding))


@pytest.mark.parametrize(("weights", "is_file"), [("IMAGENET1K_V1", False), ("w.pth", True), ("s3://b/w", True)])
def test_weights_that_name_a_file(weights: str, is_file: bool) -> None:
    """A path or url is told from a published name by its slash or dot."""
    assert names_file(weights) is is_file
