"""Places as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamjobs.errors import InputError, NotFoundError
from dreamjobs.storage import LocalStore, S3Store, UrlParts, join_url, open_store, read_url, split_url


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("s3://bucket", S3Store("bucket")),
        ("s3://bucket/", S3Store("bucket")),
        ("S3://bucket/a b/%2F#?/", S3Store("bucket", "a b/%2F#?")),
        ("/data/run", LocalStore("/data/run")),
        ("file:///data/100%25", LocalStore("/data/100%25")),
        ("run", LocalStore(str(Path.cwd() / "run"))),
        ("./a:b", LocalStore(str(Path.cwd() / "a:b"))),
    ],
)
def test_a_place_opens_as_written(url: str, store: object) -> None:
    """Local paths and s3 urls open the store they say, character for character."""
    assert open_store(url) == store


@pytest.mark.parametrize(
    "url",
    ["", "gs://bucket/a", "http://host/a", "file://host/a", "s3://", "s3:///a", "s3://b/../a", "s3://b//a", "a\0"],
)
def test_other_places_are_refused(url: str) -> None:
    """Unknown schemes and places without a bucket or path are refused with what is allowed."""
    with pytest.raises(InputError, match=r"s3://bucket/prefix|relative parts"):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "base", "key"),
    [
        ("s3://b/k.png", "s3://b", "k.png"),
        ("s3://b/a/c d%20.png", "s3://b/a", "c d%20.png"),
        ("s3://b/a//c.png", "s3://b", "a//c.png"),
        ("/a/b.png", "/a", "b.png"),
        ("/b.png", "/", "b.png"),
        ("file:///a/b.png", "/a", "b.png"),
    ],
)
def test_an_object_is_a_store_and_a_key(url: str, base: str, key: str) -> None:
    """split_url gives the folder's url and the name in it."""
    assert split_url(url) == UrlParts(base, key)


@pytest.mark.parametrize("url", ["s3://b", "s3://b/", "s3://b/a/", "/a/", "/", "", "http://h/a"])
def test_a_folder_is_no_object(url: str) -> None:
    """split_url refuses what names no object."""
    with pytest.raises(InputError):
        split_url(url)


@pytest.mark.parametrize(
    ("base", "relative", "expected"),
    [
        ("/m", "a/b.png", "/m/a/b.png"),
        ("/m/n", "../b.png", "/m/b.png"),
        ("/m", "/abs/b.png", "/abs/b.png"),
        ("/m", "s3://b/k", "s3://b/k"),
        ("/m", "file:///x%20y", "/x%20y"),
        ("/m", "a%2Fb #?.png", "/m/a%2Fb #?.png"),
        ("s3://b", "a.png", "s3://b/a.png"),
        ("s3://b/m/", "a//b %2F.png", "s3://b/m/a//b %2F.png"),
        ("s3://b/m", "./a.png", "s3://b/m/a.png"),
        ("s3://b/m", "/abs/b.png", "/abs/b.png"),
        ("s3://b/m", "s3://c/k", "s3://c/k"),
    ],
)
def test_a_relative_place_starts_from_its_base(base: str, relative: str, expected: str) -> None:
    """join_url follows paths as a manifest means them."""
    assert join_url(base, relative) == expected


@pytest.mark.parametrize("relative", ["", "gs://b/a", "a/../b", "../b"])
def test_what_cannot_be_joined_is_refused(relative: str) -> None:
    """Nothing, other schemes, and '..' on S3 are refused."""
    with pytest.raises(InputError):
        join_url("s3://b/m", relative)


def test_a_url_is_read(tmp_path: Path) -> None:
    """read_url returns the bytes of a local file, whatever its name."""
    (tmp_path / "a #%20.bin").write_bytes(b"x")
    assert read_url(str(tmp_path / "a #%20.bin")) == read_url(f"file://{tmp_path}/a #%20.bin") == b"x"
    with pytest.raises(NotFoundError, match="none"):
        read_url(str(tmp_path / "none"))
