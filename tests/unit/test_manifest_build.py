"""Building manifests: what is found, how it is named, and what the grid becomes."""

from __future__ import annotations

import io
import os
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dreamjobs import grid
from dreamjobs.errors import InputError, NotFoundError, ParamsError
from dreamjobs.manifest import Built, Expander, Known, build, find, open_manifest, write
from dreamjobs.storage import LocalStore, ObjectInfo

KNOWN = Known(lambda net, weights: "")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.chdir(tmp_path)


def picture(width: int = 5, height: int = 4, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (10, 200, 30)).save(out, kind)
    return out.getvalue()


def put(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def rows_of(out: str) -> list[dict[str, Any]]:
    return pq.read_table(out).to_pylist()


def test_a_folder_becomes_rows(tmp_path: Path) -> None:
    """Photographs below a folder are listed in order with size, time, width and height; others are counted."""
    put(tmp_path / "photos/b/c.JPG", picture(7, 3, "JPEG"))
    first = put(tmp_path / "photos/a.png", picture(5, 4))
    put(tmp_path / "photos/notes.txt")
    put(tmp_path / "photos/noextension")
    assert build(["photos"], "m.parquet", []) == Built(photographs=2, rows=2, skipped=2)
    found = rows_of("m.parquet")
    assert [row["image"] for row in found] == ["photos/a.png", "photos/b/c.JPG"]
    assert [(row["width"], row["height"]) for row in found] == [(5, 4), (7, 3)]
    assert found[0]["size_bytes"] == first.stat().st_size
    assert found[0]["mtime"] == first.stat().st_mtime_ns
    assert found[0]["etag"] is None


@pytest.mark.parametrize(
    "name", ["jpg", "jpeg", "jpe", "mpo", "png", "webp", "tif", "tiff", "avif", "bmp", "gif", "heic", "HEIF", "JpG"]
)
def test_every_kind_of_picture_is_found(tmp_path: Path, name: str) -> None:
    """The ending decides, in any case of letters."""
    put(tmp_path / f"photos/a.{name}")
    assert build(["photos"], "m.parquet", [], sizes=False).photographs == 1


def test_names_are_kept_to_the_letter(tmp_path: Path) -> None:
    """Spaces, unicode, percent signs, hashes and line feeds in names come back and point at the file."""
    names = ["a b.png", "ü日本.png", "%2F.png", "#?&.png", "line\nfeed.png", "'\".png", "-x.png", ".hidden.png"]
    for name in names:
        put(tmp_path / "photos" / name, name.encode())
    build(["photos"], "m.parquet", [], sizes=False)
    manifest = open_manifest("m.parquet")
    jobs = [job for row in manifest.read() for job in Expander(manifest.base, {}, KNOWN).jobs(row)]
    assert sorted(job.source.image for job in jobs) == sorted(f"photos/{name}" for name in names)
    assert sorted(Path(job.source.url).read_bytes().decode() for job in jobs) == sorted(names)


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    """A photograph whose name is not UTF-8 cannot stand in a manifest: it is passed over and told, the others stay."""
    put(tmp_path / "photos" / os.fsdecode(b"caf\xe9.jpg"))
    put(tmp_path / "photos/a.png")
    put(tmp_path / "photos/notes.txt")
    built = build(["photos"], "m.parquet", [], sizes=False)
    assert (built.photographs, built.skipped, len(built.unusable)) == (1, 2, 1)
    assert re.search(r"caf\\udce9\.jpg' is not UTF-8.*rename", built.unusable[0])
    assert [row["image"] for row in rows_of("m.parquet")] == ["photos/a.png"]


def test_many_names_that_are_no_text_are_cut(tmp_path: Path) -> None:
    """Of many bad names the first are told and all are counted; where there is nothing else, that is the error."""
    for number in range(9):
        put(tmp_path / "photos" / os.fsdecode(b"%d\xe9.jpg" % number))
    with pytest.raises(NotFoundError, match=r"no photograph in photos \(9 other files\); the name .* is not UTF-8"):
        build(["photos"], "m.parquet", [], sizes=False)
    put(tmp_path / "a.png")
    built = build(["photos", "a.png"], "m.parquet", [], sizes=False)
    assert (built.photographs, built.skipped, len(built.unusable)) == (1, 9, 5)


def test_a_source_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A photograph that is asked for by a name that is not UTF-8 is an input error, and nothing is written."""
    source = put(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    with pytest.raises(InputError, match=r"is not UTF-8.*rename"):
        build([str(source)], "m.parquet", [], sizes=False)
    assert not os.path.exists("m.parquet")


def test_names_are_relative_to_the_manifest(tmp_path: Path) -> None:
    """A manifest elsewhere still finds the photographs, and folder and manifest may move together."""
    put(tmp_path / "photos/a.png")
    os.mkdir("lists")
    build([str(tmp_path / "photos")], "lists/m.parquet", [], sizes=False)
    assert rows_of("lists/m.parquet")[0]["image"] == "../photos/a.png"


def test_files_and_folders_may_be_mixed(tmp_path: Path) -> None:
    """Sources are taken in the order given; a file named directly needs no known ending."""
    put(tmp_path / "scan.raw")
    put(tmp_path / "photos/a.png")
    build(["scan.raw", "photos/", "photos/a.png"], "m.parquet", [], sizes=False)
    assert [row["image"] for row in rows_of("m.parquet")] == ["scan.raw", "photos/a.png", "photos/a.png"]


def test_a_header_that_tells_nothing_leaves_the_size_out(tmp_path: Path) -> None:
    """A damaged photograph stays in the manifest, without a size; the run says what is wrong."""
    put(tmp_path / "photos/a.jpg", b"text")
    put(tmp_path / "photos/b.png", picture(9, 8))
    put(tmp_path / "photos/c.png")
    build(["photos"], "m.parquet", [])
    assert [(row["width"], row["height"]) for row in rows_of("m.parquet")] == [(None, None), (9, 8), (None, None)]


def test_many_sizes_stay_in_order(tmp_path: Path) -> None:
    """Headers read by several threads end up beside the right photograph."""
    for number in range(1, 150):
        put(tmp_path / f"photos/{number:03}.bmp", picture(number, 1, "BMP"))
    build(["photos"], "m.parquet", [])
    assert [row["width"] for row in rows_of("m.parquet")] == list(range(1, 150))


def test_a_grid_is_a_column_for_each_name(tmp_path: Path) -> None:
    """Lists become axes, values stay values, and reading gives the product."""
    put(tmp_path / "photos/a.png")
    mapping = {"octaves": [3, 4], "objective": ["edges", "parts"], "steps": 7, "octave_scale": 2, "net": "tiny"}
    assert build(["photos"], "m.parquet", [mapping], sizes=False).rows == 1
    manifest = open_manifest("m.parquet")
    jobs = [job for row in manifest.read() for job in Expander(manifest.base, {}, KNOWN).jobs(row)]
    found = [(job.params.octaves, job.params.objective, job.params.steps, job.params.octave_scale) for job in jobs]
    assert found == [(octaves, objective, 7, 2.0) for objective in ("edges", "parts") for octaves in (3, 4)]
    assert len({job.id for job in jobs}) == 4


def test_a_list_of_mappings_is_their_union(tmp_path: Path) -> None:
    """A grid file with several mappings gives each photograph a row for each; lists and values of a name mix."""
    put(tmp_path / "photos/a.png")
    put(tmp_path / "photos/b.png")
    text = "- {octaves: [3, 4], objective: edges}\n- {octaves: 2, seed: [1, 2]}\n- {overlap: [exact, 64]}\n"
    built = build(["photos"], "m.parquet", grid.parse_grid(text), sizes=False)
    assert built == Built(photographs=2, rows=6, skipped=0)
    cells = [{name: row[name] for name in ("octaves", "objective", "seed", "overlap")} for row in rows_of("m.parquet")]
    assert cells[:3] == [
        {"octaves": [3, 4], "objective": "edges", "seed": None, "overlap": None},
        {"octaves": [2], "objective": None, "seed": [1, 2], "overlap": None},
        {"octaves": None, "objective": None, "seed": None, "overlap": ["exact", "64"]},
    ]
    assert cells[3:] == cells[:3]


def test_text_and_numbers_of_one_parameter_survive(tmp_path: Path) -> None:
    """overlap holds a word, a number, a whole float or null, and each is read as it was meant."""
    put(tmp_path / "a.png")
    build(["a.png"], "m.parquet", [{"overlap": ["exact", 64, 16.0, None]}], sizes=False)
    manifest = open_manifest("m.parquet")
    jobs = [job for row in manifest.read() for job in Expander(manifest.base, {}, KNOWN).jobs(row)]
    assert [job.params.overlap for job in jobs] == ["exact", 64, 16, "exact"]


def test_null_in_an_axis_of_text_is_the_default(tmp_path: Path) -> None:
    """`objective=[null, edges]` is the default objective and edges, not a layer called None."""
    put(tmp_path / "a.png")
    build(["a.png"], "m.parquet", [{"objective": [None, "edges"], "max_side": [None, 9]}], sizes=False)
    assert rows_of("m.parquet")[0]["objective"] == [None, "edges"]
    assert rows_of("m.parquet")[0]["max_side"] == [None, 9]


def test_null_alone_is_no_column(tmp_path: Path) -> None:
    """A name whose value is null is as if it were not there."""
    put(tmp_path / "a.png")
    build(["a.png"], "m.parquet", [{"steps": None}], sizes=False)
    assert "steps" not in pq.read_schema("m.parquet").names


def test_a_weights_file_is_found_from_the_manifest(tmp_path: Path) -> None:
    """weights given from the current folder is written so that a manifest in another folder finds it."""
    put(tmp_path / "a.png")
    put(tmp_path / "w.safetensors", b"weights")
    os.mkdir("lists")
    build(["a.png"], "lists/m.parquet", [{"weights": ["w.safetensors", "random", "s3://b/w.pt"]}], sizes=False)
    manifest = open_manifest("lists/m.parquet")
    jobs = [job for row in manifest.read() for job in Expander(manifest.base, {}, KNOWN).jobs(row)]
    assert [job.params.weights for job in jobs] == [str(tmp_path / "w.safetensors"), "random", "s3://b/w.pt"]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"octave": 3}, "no such parameter; did you mean `octaves`"),
        ({"octave": None}, "no such parameter; did you mean `octaves`"),
        ({"octaves": []}, "octaves: the list is empty"),
        ({"octaves": [3, 0]}, "octaves: 0 is refused"),
        ({"net": "os:getcwd"}, "names code"),
        ({"objective": 12}, "objective: 12 is refused; allowed is text"),
    ],
)
def test_a_bad_grid_writes_nothing(tmp_path: Path, mapping: dict[str, Any], said: str) -> None:
    """A wrong name or value, and code, are refused before anything is listed."""
    put(tmp_path / "a.png")
    with pytest.raises(ParamsError, match=said):
        build(["a.png"], "m.parquet", [{"steps": 1}, mapping])
    assert not os.path.exists("m.parquet")


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["nowhere"], "there is no file or folder 'nowhere'"),
        (["photos", "nowhere"], "there is no file or folder 'nowhere'"),
        (["texts"], r"no photograph in texts \(1 other files\)"),
        (["empty"], r"no photograph in empty \(0 other files\)"),
    ],
)
def test_a_failure_leaves_the_old_manifest(tmp_path: Path, sources: list[str], said: str) -> None:
    """A source that is not there or holds no photograph is an error, and an earlier manifest is not touched."""
    put(tmp_path / "photos/a.png")
    put(tmp_path / "texts/a.txt")
    os.mkdir("empty")
    put(tmp_path / "m.parquet", b"before")
    with pytest.raises(NotFoundError, match=said):
        build(sources, "m.parquet", [])
    assert Path("m.parquet").read_bytes() == b"before"
    assert sorted(os.listdir()) == ["empty", "m.parquet", "photos", "texts"]


def test_who_watches_sees_every_photograph(tmp_path: Path) -> None:
    """The count goes up by one with each photograph."""
    for number in range(5):
        put(tmp_path / f"photos/{number}.png")
    seen: list[int] = []
    build(["photos"], "m.parquet", [{}, {"seed": 1}], sizes=False, on_photograph=seen.append)
    assert seen == [1, 2, 3, 4, 5]


class Endless(LocalStore):
    """Lists photographs that nobody holds in memory."""

    count = 0

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (ObjectInfo(f"{number:08}.jpg", 1000, f"mtime:{number}", 0.0) for number in range(self.count))


def peak_of(monkeypatch: pytest.MonkeyPatch, count: int) -> int:
    monkeypatch.setattr(Endless, "count", count)
    tracemalloc.start()
    try:
        assert build(["photos"], "m.parquet", [{"objective": ["edges", "parts"]}], sizes=False).rows == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the photographs take the same memory, in row groups of one size."""
    os.mkdir("photos")
    opened = find.open_store
    monkeypatch.setattr(find, "open_store", lambda url: Endless(url) if url == "photos" else opened(url))
    monkeypatch.setattr(write, "_ROWS_A_GROUP", 1_000)
    small = peak_of(monkeypatch, 1_500)
    large = peak_of(monkeypatch, 20_000)
    assert large < 1.2 * small
    groups = pq.ParquetFile("m.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [1_000] * 20


def test_the_columns_have_the_types_that_reading_takes(tmp_path: Path) -> None:
    """Sizes are integers, words are text, axes are lists."""
    put(tmp_path / "a.png", picture())
    build(["a.png"], "m.parquet", [{"octaves": [1, 2], "octave_scale": 2, "overlap": 5, "seed": 3}])
    schema = pq.read_schema("m.parquet")
    assert schema.field("octaves").type == pa.list_(pa.int64())
    assert [schema.field(name).type for name in ("octave_scale", "overlap", "seed")] == [
        pa.float64(),
        pa.string(),
        pa.int64(),
    ]
    assert [schema.field(name).type for name in ("size_bytes", "mtime", "width")] == [
        pa.int64(),
        pa.int64(),
        pa.int32(),
    ]
