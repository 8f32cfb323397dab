"""Jobs: what their identity is made of, and keys that no name can lead astray."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.other_values import OTHER_VALUES

from dreamjobs.jobs import Job, Keys, Source, job_id, look
from dreamjobs.params import make_params
from dreamjobs.storage.base import check_key

LOOKS = [name for name in OTHER_VALUES if name != "weights"]


def job(image: str = "a/b.jpg", weights: str = "w", source: dict[str, Any] | None = None, **values: object) -> Job:
    where = {"url": "/photos/" + image, "size_bytes": 10, "version": "mtime:1"} | (source or {})
    return Job(1, Source(image, **where), make_params(values), weights)


def test_the_id_does_not_depend_on_the_order_of_parameters() -> None:
    """Parameters given in any order make the same job."""
    names = ["octaves", "steps", "seed"]
    ids = {job(**{name: OTHER_VALUES[name] for name in order}).id for order in itertools.permutations(names)}
    assert len(ids) == 1


def test_the_id_ignores_paths_rows_and_meta() -> None:
    """Weights count by content; where things are, which row asked and what `meta_*` says do not count."""
    base = job()
    assert job(weights="w").id == base.id
    moved = Job(99, Source("a/b.jpg", "s3://elsewhere/b.jpg", 10, "mtime:1", 640, 480), base.params, "w", {"meta_a": 1})
    assert moved.id == base.id
    other_path = Job(1, base.source, make_params({"weights": "some/file.pth"}), "w")
    assert other_path.id == base.id
    assert other_path.look == base.look


@pytest.mark.parametrize("name", LOOKS)
def test_the_id_changes_with_every_parameter(name: str) -> None:
    """Any one parameter changed makes another job and another look."""
    assert job(**{name: OTHER_VALUES[name]}).id != job().id
    assert look(make_params({name: OTHER_VALUES[name]})) != look(make_params({}))


def test_every_parameter_but_the_weights_path_is_tried() -> None:
    """The test above knows all parameters."""
    assert set(LOOKS) == set(type(make_params({})).model_fields) - {"weights"}


@pytest.mark.parametrize(
    "other",
    [job("a/c.jpg"), job(source={"size_bytes": 11}), job(source={"version": "etag:1"}), job(weights="v")],
    ids=["name", "size", "version", "weights"],
)
def test_the_id_changes_with_source_and_weights(other: Job) -> None:
    """Another name, size or version of the photograph, or other weights, make another job of the same look."""
    assert other.id != job().id
    assert other.look == job().look


def test_an_id_is_128_bits_of_hex() -> None:
    """An id is 32 hex digits."""
    assert len(bytes.fromhex(job_id(Source("a.jpg", "a.jpg", 1, "etag:x"), make_params({}), "00"))) == 16


def test_names_with_undecodable_bytes_have_ids() -> None:
    """A file name that is no UTF-8, as os.listdir gives it, makes a job."""
    assert job("caf\udce9.jpg").id != job("caf\udce8.jpg").id


@pytest.mark.parametrize(
    ("width", "height", "max_side", "pixels"),
    [
        (None, None, None, 16_000_000),
        (4000, 3000, None, 12_000_000),
        (4000, 3000, 1000, 750_000),
        (400, 300, 1000, 120_000),
        (5000, 1, 2, 2),
    ],
)
def test_pixels_are_those_to_be_dreamed(width: int, height: int, max_side: int, pixels: int) -> None:
    """A job's pixels follow from the manifest's size and `max_side`, or are taken for a large photograph."""
    assert job(source={"width": width, "height": height}, max_side=max_side).pixels == pixels


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\system32",
    "C:\\CON",
    "CON",
    "a/../../b.jpg",
    "%2e%2e%2Fb.jpg",
    "a%2Fb.jpg",
    "a b /c .jpg",
    " . / .. /x",
    "...",
    "../..",
    "",
    "/",
    ".jpg",
    ".dreamjobs-tmp-1/.dreamjobs-tmp-2.jpg",
    "nul\0byte.jpg",
    "new\nline.jpg",
    "caf\udce9.jpg",
    "日本語/写真.jpg",
    "e\u0301.jpg",
    "\u202egpj.exe",
    "😀" * 300 + ".jpg",
    "x" * 300 + ".jpg",
    "/".join(["d" * 200] * 30) + "/a.jpg",
    "a.b.c.jpg",
    "s3://bucket/../x.jpg",
    'quote"<img src=x>.jpg',
    "a//b///c.jpg",
    "-rf.jpg",
    "~/a.jpg",
]
parts = st.one_of(
    st.sampled_from([".", "..", "", " ", "CON", "%2F", "a", "."]), st.text(max_size=8), st.just("é" * 200)
)
hostile = st.sampled_from(HOSTILE) | st.text(max_size=40) | st.lists(parts, max_size=5).map("/".join)


def assert_safe(key: str) -> None:
    assert check_key(key) == key
    assert key.startswith("images/")
    assert not set(key) & set('\\%<>:"|?*#')
    assert not any(ord(character) < 32 for character in key)
    for part in key.split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode("utf-8")) <= 255
        assert not part.startswith(".")
    assert len(key.encode()) <= 1024


@settings(max_examples=150)
@given(hostile, st.sampled_from(["jpg", "png"]), st.text("ab:,+*. ()/", min_size=1, max_size=60))
def test_no_name_leads_out_of_images(image: str, extension: str, objective: str) -> None:
    """Whatever a photograph and its objective are called, the key stays under images/, part by part allowed."""
    key = Keys.picture(job(image, objective=objective), extension)
    assert_safe(key)
    assert key.endswith(f".{extension}")


@pytest.mark.parametrize("image", HOSTILE)
def test_each_known_trick_is_harmless(image: str) -> None:
    """The names that are known to break others make allowed keys."""
    assert_safe(Keys.picture(job(image), "jpg"))


@settings(max_examples=100)
@given(hostile, hostile, st.integers(0, 3), st.integers(0, 3))
def test_different_jobs_have_different_keys(one: str, other: str, seed: int, other_seed: int) -> None:
    """Two names that clean to the same text, or two points of a grid, still have different keys."""
    first, second = job(one, seed=seed), job(other, seed=other_seed)
    assert (Keys.picture(first, "jpg") == Keys.picture(second, "jpg")) == (first.id == second.id)


def test_names_that_clean_alike_are_told_apart() -> None:
    """Names of one cleaned text differ in their keys by the id."""
    names = ["a?.jpg", "a*.jpg", "a_.jpg", "../a_.jpg", "/a_.jpg", "a_.png", " a_.jpg"]
    assert len({Keys.picture(job(name), "jpg") for name in names}) == len(names)


def test_keys_mirror_the_source_tree() -> None:
    """A plain name keeps its folders and its stem, and says what was dreamed; the id ends it."""
    made = job("2024/may/cat.v2.JPG", objective="mix8a:1,2", seed=3, quality=80)
    assert Keys.picture(made, "jpg") == f"images/2024/may/cat.v2--mix8a-1-2-seed3-{made.id[:8]}.jpg"
    assert Keys.picture(job("s3://bucket/a/b.png"), "png").startswith("images/bucket/a/b--mix8c-")


def test_results_parts_are_told_apart() -> None:
    """Shard, stamp and number each make another part, in an order that sorts."""
    assert Keys.results_part("1of2", "20260101", 7) == "results/1of2-20260101-000007.parquet"
