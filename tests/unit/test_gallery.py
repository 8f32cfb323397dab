"""The gallery's files: what the page is given, escaped and linked; previews made once; what an earlier call left."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from unit.gallery_rows import NOON, failed, put_rows, row

from dreamjobs import images
from dreamjobs.errors import WorkerLostError
from dreamjobs.gallery import Choices, by_threads, data, previews, site, write_gallery
from dreamjobs.gallery.data import Table
from dreamjobs.gallery.summary import megapixel_steps, summarize
from dreamjobs.storage import LocalStore

EVIL = "<img src=x onerror=alert(1)>.jpg"
NASTY = [
    "</script><script>alert(1)</script>.jpg",
    "a\u2028b\u2029c.jpg",
    "'\"\\.jpg",
    "<!--.jpg",
    "😀 é.jpg",
    EVIL,
]


def picture(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "PNG", **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def given(script: bytes) -> Any:
    """What a data script calls the page with."""
    (values,) = re.findall(r"\Adreamjobs\.\w+\((.*)\);\n\Z", script.decode("ascii"))
    return json.loads(f"[{values}]")


def parts(run: LocalStore, folder: str = "gallery/") -> dict[str, Any]:
    """Every data script of a site, by name."""
    found = {info.key.removeprefix(f"{folder}data/"): given(run.get(info.key)) for info in run.list(f"{folder}data/")}
    return {name: values if name.startswith("details") else values[0] for name, values in found.items()}


def keys(store: LocalStore, prefix: str) -> set[str]:
    return {info.key for info in store.list(prefix)}


class Reader(HTMLParser):
    """Collects tags as a browser would."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text: str) -> None:
        self.texts.append(text)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run(tmp_path: Path) -> LocalStore:
    """A run's folder with a picture for each of three done rows."""
    store = LocalStore(str(tmp_path / "run"))
    for number in range(3):
        store.put(f"images/{number:08d}.jpg", picture(number))
    put_rows(store.url, [row(number, octaves=2 + number) for number in range(3)])
    return store


# ---- data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NASTY)
def test_data_scripts_hold_any_name(name: str) -> None:
    """A name comes out of a data script as it went in, and nothing in the script ends it or a line of it."""
    script = site.call("run", {"images": [name]})
    assert given(script) == [{"images": [name]}]
    assert b"<" not in script
    assert script.isascii()
    assert script.count(b"\n") == 1


def test_a_row_is_numbers_of_values() -> None:
    """Fields list the values that occur, and each row says which of them it has; what does not vary is not repeated."""
    table = Table.of([row(number, octaves=octaves) for number, octaves in enumerate((4, 2, 4))])
    told = data.header(table, [""])
    fields = {field["name"]: field for field in told["fields"]}
    assert (fields["octaves"]["values"], fields["octaves"]["default"]) == ([2, 4], 4)
    assert fields["steps"]["values"] == [10]
    (chunk,) = data.chunks(table, frozenset())
    assert chunk["fields"] == {"octaves": [0, 1, 1]}
    assert chunk["id"] == [f"{number:032x}"[:16] for number in (1, 0, 2)]


def test_values_are_in_natural_order() -> None:
    """Numbers go by size, numbers within text too, and none is first."""
    names = ["mix10a", "mix4b", "mix4b:10", "mix4b:9"]
    table = Table.of(
        [
            row(at, objective=name, max_side=side)
            for at, (name, side) in enumerate(zip(names, (64, None, 512, 128), strict=True))
        ]
    )
    values = {field.name: field.values for field in table.fields}
    assert values["objective"] == ("mix4b", "mix4b:9", "mix4b:10", "mix10a")
    assert values["max_side"] == (None, 64, 128, 512)


def test_rows_stand_by_photograph_then_by_what_varies() -> None:
    """Whatever order the results are in, the wall has the manifest's photographs, and each one's grid in order."""
    cells = [("b.jpg", 2, 4), ("a.jpg", 1, 4), ("b.jpg", 2, 2), ("a.jpg", 1, 2)]
    table = Table.of([row(at, image, row=number, octaves=octaves) for at, (image, number, octaves) in enumerate(cells)])
    assert table.images == ("a.jpg", "b.jpg")
    assert [(item["image"], item["octaves"]) for item in table.done] == [
        ("a.jpg", 2), ("a.jpg", 4), ("b.jpg", 2), ("b.jpg", 4),
    ]  # fmt: skip


def test_columns_of_ones_own_are_fields() -> None:
    """`meta_*` columns are told apart; lists, dates and what is no number become text."""
    cells = [{"meta_year": 2024, "meta_when": NOON}, {"meta_year": float("nan"), "meta_when": None}]
    table = Table.of([row(at) | cell for at, cell in enumerate(cells)])
    fields = {field["name"]: field for field in data.header(table, [""])["fields"]}
    assert fields["meta_year"]["meta"]
    assert fields["meta_year"]["values"] == [2024, "nan"]
    assert fields["meta_when"]["values"] == [None, str(NOON)]
    assert not fields["octaves"]["meta"]
    site.call("run", data.header(table, [""]))


def test_large_seeds_stay_what_they_are() -> None:
    """A whole number that JavaScript would round is text."""
    table = Table.of([row(0, seed=2**63 - 1)])
    assert [f["values"] for f in data.header(table, [""])["fields"] if f["name"] == "seed"] == [[str(2**63 - 1)]]


def test_data_come_in_pieces() -> None:
    """Pictures are told in pieces of 5,000, details in pieces of 200, in one order."""
    table = Table.of([row(number) for number in range(data.CHUNK_ROWS + 1)])
    told = list(data.chunks(table, frozenset()))
    assert [len(chunk["id"]) for chunk in told] == [data.CHUNK_ROWS, 1]
    details = list(data.details(table))
    assert len(details) == data.CHUNK_ROWS // data.DETAIL_ROWS + 1
    assert details[-1][0]["id"].startswith(told[-1]["id"][0])


def test_long_curves_are_thinned() -> None:
    """A curve of thousands of steps is told in some hundred points, the last one among them, its length kept."""
    curve = [float(step) for step in range(5000)]
    ((detail,),) = data.details(Table.of([row(objective_curve=curve)]))
    assert len(detail["curve"]) <= 122
    assert (detail["curve"][0], detail["curve"][-1], detail["curveSteps"]) == (0.0, 4999.0, 5000)


@pytest.mark.parametrize(
    ("cells", "moves"),
    [
        ({"output": "images/a.mp4"}, True),
        ({"output": "images/a.webp", "frames": 3, "video": "webp"}, True),
        ({"output": "images/a.webp", "image": "clip/", "video": "webp"}, True),
        ({"output": "images/a.webp"}, False),
        ({"output": "images/a.png", "frames": 3, "video": "none"}, False),
    ],
)
def test_videos_are_told_from_pictures(cells: dict[str, Any], moves: bool) -> None:
    """A WebP moves only where a sequence was asked for; an MP4 always does."""
    assert data.is_video(row() | cells) is moves


def test_results_of_an_older_version_are_shown() -> None:
    """A parameter that the results do not know is left out, not made up."""
    known = row()
    del known["keep_colors"]
    assert "keep_colors" not in [field.name for field in Table.of([known]).fields]


# ---- the run in numbers ----------------------------------------------------------------------------------------


def test_time_at_work_leaves_out_pauses_and_counts_overlaps_once() -> None:
    """Two pictures made side by side, and one an hour later: 10 s and 5 s at work, 25 s of compute."""
    spans = [(0, 10.0), (0, 10.0), (3600, 5.0)]
    quick = dict.fromkeys(("fetch_s", "decode_s", "encode_s", "put_s"), 0.0)
    rows = [row(at, dream_s=s, finished=NOON + timedelta(seconds=end), **quick) for at, (end, s) in enumerate(spans)]
    found = summarize([*rows, failed(9, "bad.jpg", "no")], left=2, cost_usd=3.0)
    assert (found.jobs, found.done, found.failed, found.left, found.cost_usd) == (6, 3, 1, 2, 3.0)
    assert (found.wall_s, found.compute_s) == (pytest.approx(15.0), 25.0)
    assert found.pictures_per_hour == pytest.approx(3 / 15 * 3600)


def test_megapixel_steps_count_octaves_by_their_area() -> None:
    """1 megapixel, two octaves at ratio 2: half of the steps are on a quarter of the pixels."""
    cells: dict[str, Any] = {"width": 1000, "height": 1000, "octaves": 2, "octave_scale": 2.0, "steps": 10}
    assert megapixel_steps(row(objective_curve=None, **cells)) == pytest.approx(20 * 0.625)
    assert megapixel_steps(row(objective_curve=[0.0] * 8, **cells)) == pytest.approx(8 * 0.625)
    assert megapixel_steps(row(objective_curve=None, octave_sizes="500 1000", **cells)) == pytest.approx(20 * 0.625)


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    """Nothing done: no numbers are made up, and the page is there all the same."""
    store = LocalStore(str(tmp_path))
    assert Path(write_gallery(store)).is_file()
    found = summarize([])
    assert (found.done, found.pictures_per_hour, found.begun) == (0, None, None)


# ---- the page --------------------------------------------------------------------------------------------------


def test_the_page_runs_no_script_but_its_own_files(run: LocalStore) -> None:
    """No script or style is inline, the policy forbids both, and everything is loaded from files that are there."""
    page = Path(write_gallery(run))
    found = Reader(page.read_bytes())
    links = [tag["src"] for tag in found.all("script")] + [tag["href"] for tag in found.all("link")]
    assert all(link and (page.parent / link.partition("?")[0]).is_file() for link in links)
    assert not found.all("style")
    assert not any(name.startswith("on") or name == "style" for _, tag in found.tags for name in tag)
    (policy,) = [tag["content"] or "" for tag in found.all("meta") if tag.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_links_change_with_what_they_lead_to(run: LocalStore) -> None:
    """A browser that kept yesterday's data asks for today's: links carry a hash of the content."""
    before = Path(write_gallery(run)).read_text()
    assert Path(write_gallery(run)).read_text() == before
    put_rows(run.url, [row(0)])
    after = Path(write_gallery(run)).read_text()
    pattern = r'src="(data/rows-0\.js\?v=\w+)"'
    assert re.findall(pattern, before) != re.findall(pattern, after)


def test_pictures_are_linked_by_quoted_relative_paths(tmp_path: Path) -> None:
    """From gallery/ to images/, with what a url would take otherwise quoted."""
    names = ["a b/c#1.jpg", "50%.jpg", "é?.jpg", EVIL]
    store = LocalStore(str(tmp_path))
    put_rows(store.url, [row(at, output=f"images/{name}") for at, name in enumerate(names)])
    write_gallery(store)
    found = parts(store)
    assert found["run.js"]["pictures"] == "../"
    assert [unquote(link) for link in found["rows-0.js"]["output"]] == [f"images/{name}" for name in names]
    assert not any(set(link) & set(' #?"<>') for link in found["rows-0.js"]["output"])


def test_the_plain_list_is_escaped() -> None:
    """Without scripts there is a list: every picture a link, every failure a line, no name or error a tag."""
    rows = [row(0, EVIL, objective='"><script>alert(2)</script>'), failed(1, EVIL, "<script>alert(4)</script>", "<b>")]
    found = Reader(site.plain("<i>", Table.of(rows), "../"))
    assert {name for name, _ in found.tags} <= {"html", "meta", "title", "h1", "h2", "ul", "li", "a"}
    assert [tag["href"] for tag in found.all("a")] == ["../images/00000000.jpg"]
    assert any("<script>alert(4)</script>" in text for text in found.texts)


def test_failures_are_told_with_type_and_message(run: LocalStore) -> None:
    """A failed job is no picture; its photograph, settings and error are listed."""
    put_rows(run.url, [row(0), failed(1, "bad.jpg", "cut short", steps=3)])
    write_gallery(run)
    (told,) = parts(run)["failed.js"]
    assert (told["image"], told["settings"]) == ("bad.jpg", "mix8c, steps 3")
    assert (told["type"], told["error"]) == ("ImageError", "cut short")
    assert len(parts(run)["rows-0.js"]["id"]) == 1


# ---- previews --------------------------------------------------------------------------------------------------


def test_thumbnails_are_made_once(run: LocalStore) -> None:
    """A second call makes only the thumbnails of pictures that are new, and removes those of pictures that are gone."""
    made: list[int] = []
    write_gallery(run, on_made=made.append)
    assert made == [1, 2, 3]
    before = {info.key: info.version for info in run.list("gallery/thumbs/")}
    assert set(before) == {f"gallery/thumbs/{number:064x}.webp" for number in range(3)}
    run.put("images/00000003.jpg", picture(3))
    put_rows(run.url, [row(number) for number in (1, 2, 3)])
    made.clear()
    write_gallery(run, on_made=made.append)
    after = {info.key: info.version for info in run.list("gallery/thumbs/")}
    assert made == [1]
    assert set(after) == {f"gallery/thumbs/{number:064x}.webp" for number in (1, 2, 3)}
    assert all(after[key] == before[key] for key in after.keys() & before.keys())


def test_a_thumbnail_is_small_and_carries_nothing_of_the_camera() -> None:
    """WebP of 320 pixels at most, proportions kept, where and when it was taken left out."""
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    data_ = previews.shrunk(picture(size=(1000, 500), kind="JPEG", exif=exif), 320)
    image = Image.open(io.BytesIO(data_))
    assert (image.format, image.size) == ("WEBP", (320, 160))
    assert b"SecretCamera" not in data_


def test_unreadable_pictures_end_nothing(run: LocalStore) -> None:
    """A picture that is damaged or gone has no thumbnail, and it is told why; the others have theirs."""
    run.put("images/00000001.jpg", b"text")
    run.delete("images/00000002.jpg")
    failed: list[str] = []
    write_gallery(run, on_failed=failed.append)
    assert [bool(name) for name in parts(run)["rows-0.js"]["preview"]] == [True, False, False]
    assert [reason.partition(": ")[2].partition(":")[0] for reason in failed if "photos/" not in reason] == [
        "ImageError",
        "NotFoundError",
    ]
    run.put("images/00000001.jpg", picture(1))
    write_gallery(run, on_failed=failed.append)
    assert [bool(name) for name in parts(run)["rows-0.js"]["preview"]] == [True, True, False]


def test_a_preview_that_cannot_be_put_ends_nothing(run: LocalStore) -> None:
    """Where a thumbnail may not be written the others are, and it is told."""
    run.put(f"gallery/thumbs/{1:064x}.webp/in-its-place", b"")
    failed: list[str] = []
    write_gallery(run, on_failed=failed.append)
    assert [bool(name) for name in parts(run)["rows-0.js"]["preview"]] == [True, False, True]
    assert [reason.partition(":")[0] for reason in failed] == ["images/00000001.jpg"]


def test_whoever_makes_previews_may_lose_some(run: LocalStore) -> None:
    """Another way of calling a function on many items is taken; an item whose process died has no preview, and why."""

    def each(function: Any, items: Any, *, memory_bytes: int) -> Any:
        assert memory_bytes == 640 * 480 * 18
        for item in reversed(items):
            yield item, WorkerLostError("gone") if "00000001" in item.name else function(item)

    failed: list[str] = []
    write_gallery(run, each=each, on_failed=failed.append)
    assert [bool(name) for name in parts(run)["rows-0.js"]["preview"]] == [True, False, True]
    assert failed == ["images/00000001.jpg: gone"]


@pytest.mark.parametrize(("memory_bytes", "most"), [(1_000_000_000, 2), (10**12, 1)])
def test_threads_are_as_many_as_memory_allows(memory_bytes: int, most: int) -> None:
    """Calls that take a gigabyte go two at a time, larger than all of it one by one; each item has its own outcome."""
    at_once, seen, lock = 0, list[int](), threading.Lock()

    def call(item: int) -> int:
        nonlocal at_once
        with lock:
            at_once += 1
            seen.append(at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1
        return -item

    assert list(by_threads(call, range(8), memory_bytes=memory_bytes)) == [(item, -item) for item in range(8)]
    assert max(seen) <= most


def test_a_video_shows_a_frame_from_its_middle(tmp_path: Path) -> None:
    """The thumbnail of an MP4 is made from the sequence's pictures, which stand beside it."""
    store = LocalStore(str(tmp_path))
    store.put("images/cat--zoom.mp4", b"not read")
    for number, red in enumerate((0, 255, 0), start=1):
        out = io.BytesIO()
        Image.new("RGB", (8, 8), (red, 0, 0)).save(out, "PNG")
        store.put(f"frames/cat--zoom/{number:06d}.png", out.getvalue())
    put_rows(store.url, [row(output="images/cat--zoom.mp4", frames=3)])
    write_gallery(store)
    (key,) = keys(store, "gallery/thumbs/")
    assert images.decode(store.get(key)).pixels[4, 4, 0] > 0.9


def test_photographs_are_shown_where_they_can_be_read(tmp_path: Path, run: LocalStore) -> None:
    """A preview for each photograph that is there; none for noise, clips and what is gone; none at all if so chosen."""
    (tmp_path / "cat.jpg").write_bytes(picture(size=(1600, 800)))
    names = ["cat.jpg", "gone.jpg", "noise:1", "clip/"]
    rows = [row(at, name, row=at + 1) for at, name in enumerate(names)]
    wanted = previews.photographs("gallery/", str(tmp_path), rows)
    assert set(wanted) == {"cat.jpg", "gone.jpg"}
    made = previews.make(run, list(wanted.values()), set(), pixels=1, each=by_threads, on_made=lambda number: None)
    assert made.keys == {wanted["cat.jpg"].key}
    (reason,) = made.failed
    assert reason.startswith("gone.jpg: NotFoundError")
    assert images.probe(run.get(wanted["cat.jpg"].key)).width == previews.PHOTOGRAPH_SIDE


# ---- where the site stands ---------------------------------------------------------------------------------------


def test_a_site_elsewhere_stands_for_itself(tmp_path: Path, run: LocalStore) -> None:
    """With a place of its own the site has a copy of every picture, made once, and links to those."""
    out = LocalStore(str(tmp_path / "site"))
    put_rows(run.url, [row(n, size_bytes=len(run.get(f"images/{n:08d}.jpg"))) for n in range(3)])
    assert write_gallery(run, out) == str(tmp_path / "site" / "index.html")
    assert keys(out, "images/") == keys(run, "images/")
    assert parts(out, "")["run.js"]["pictures"] == ""
    assert keys(run, "gallery/") == set()
    before = {info.key: info.version for info in out.list("images/")}
    write_gallery(run, out)
    assert {info.key: info.version for info in out.list("images/")} == before


def test_what_an_earlier_call_left_is_removed(run: LocalStore) -> None:
    """Data of more rows, failures that were mended, assets of another version: none of it stays."""
    put_rows(run.url, [*(row(n) for n in range(data.DETAIL_ROWS + 1)), failed(999, "bad.jpg", "no")])
    write_gallery(run)
    run.put("gallery/assets/old.js", b"")
    run.put("gallery/mine.txt", b"not ours")
    put_rows(run.url, [row(0)])
    write_gallery(run)
    assert keys(run, "gallery/data/") == {f"gallery/data/{name}" for name in ("run.js", "rows-0.js", "details-0.js")}
    assert "gallery/assets/old.js" not in keys(run, "gallery/")
    assert "gallery/mine.txt" in keys(run, "gallery/")


def test_choices_reach_the_page(run: LocalStore) -> None:
    """A cost that was given is told; one that was not is none."""
    write_gallery(run, choices=Choices(cost_usd=12.5))
    assert parts(run)["run.js"]["summary"]["cost_usd"] == 12.5
    write_gallery(run)
    assert parts(run)["run.js"]["summary"]["cost_usd"] is None


def test_times_are_seconds_since_1970(run: LocalStore) -> None:
    """What the page takes for a date is one."""
    write_gallery(run)
    assert parts(run)["rows-0.js"]["finished"][0] == datetime(2025, 6, 1, 12, tzinfo=UTC).timestamp()
