"""Writing the site: previews first, then data, the page last, so that a page never names what is not there yet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from dreamjobs import ledger, results
from dreamjobs.errors import NotFoundError
from dreamjobs.gallery import data, previews, site
from dreamjobs.gallery.data import Row, Table
from dreamjobs.gallery.summary import summarize
from dreamjobs.gallery.threads import Each, by_threads
from dreamjobs.jobs import Keys
from dreamjobs.storage import Store, join_url

_HEAVY = ("traceback", "versions", "node", "actor")


@dataclass(frozen=True)
class Choices:
    """What a person may choose: whether previews of the photographs are part of the site, and what the run cost."""

    photographs: bool = True
    cost_usd: float | None = None


def write_gallery(
    run: Store,
    out: Store | None = None,
    *,
    choices: Choices | None = None,
    each: Each = by_threads,
    on_made: Callable[[int], None] = lambda number: None,
    on_failed: Callable[[str], None] = lambda reason: None,
) -> str:
    """Write the site of what is done and failed so far; returns the path or url of its page.

    It stands in RUN and links to RUN's pictures; or it stands in `out`, with a copy of every picture, and can be
    moved. What an earlier call made is kept where it still holds, and removed where not. Previews are made by `each`,
    threads here unless it is another way; `on_made` is told how many were dealt with, `on_failed` of each that could
    not be made, and why: the page shows its place without one, and the next call tries again.
    """
    choices = choices or Choices()
    place = _Place(run, Keys.GALLERY.rpartition("/")[0] + "/", "../") if out is None else _Place(out, "", "")
    table = Table.of(_rows(run))
    if out is not None:
        previews.copy_pictures(run, out, table.done)
    base = _base(run) if choices.photographs else None
    made = _make_previews(run, place, table, base, partial(previews.make, each=each, on_made=on_made))
    _write_files(run, place, table, made, choices)
    for reason in made.failed:
        on_failed(reason)
    return join_url(place.store.url, f"{place.folder}index.html")


@dataclass(frozen=True)
class _Place:
    """Where the site stands, and how its page leads to the folder of the pictures' keys."""

    store: Store
    folder: str
    pictures: str


@dataclass(frozen=True)
class _Made:
    """The previews there are: the hashes of pictures that have one, and each photograph's link, empty for none.

    `failed` says why others are not, a line each.
    """

    thumbnails: frozenset[str]
    photographs: tuple[str, ...]
    failed: tuple[str, ...]


def _rows(run: Store) -> list[Row]:
    table = results.read(run)
    rows: list[Row] = table.drop_columns([name for name in _HEAVY if name in table.column_names]).to_pylist()
    return rows


def _make_previews(
    run: Store, place: _Place, table: Table, base: str | None, make: Callable[..., previews.Made]
) -> _Made:
    """Those of the pictures, and those of the photographs unless `base` is None."""
    thumbs = previews.thumbnails(place.folder, run, table.done)
    photos = previews.photographs(place.folder, base, table.done) if base is not None else {}
    wanted = [*thumbs.values(), *photos.values()]
    there = {info.key for name in ("thumbs/", "photographs/") for info in place.store.list(place.folder + name)}
    largest = max((max(row["width"] * row["height"], _source_pixels(row)) for row in table.done), default=0)
    made = make(place.store, wanted, there, pixels=largest)
    _remove(place.store, there - {preview.key for preview in wanted})
    links = [photos[image].key if image in photos else "" for image in table.images]
    return _Made(
        frozenset(sha256 for sha256, preview in thumbs.items() if preview.key in made.keys),
        tuple(link.removeprefix(place.folder) if link in made.keys else "" for link in links),
        made.failed,
    )


def _source_pixels(row: Row) -> int:
    return (row["source_width"] or 0) * (row["source_height"] or 0)


def _write_files(run: Store, place: _Place, table: Table, made: _Made, choices: Choices) -> None:
    title = run.url.rstrip("/").rpartition("/")[2]
    summary = summarize([*table.done, *table.failed], left=_left(run), cost_usd=choices.cost_usd)
    more = {"title": title, "pictures": place.pictures, "summary": summary.as_data()}
    header = data.header(table, made.photographs) | more
    files = dict([*site.asset_files(), *site.data_files(table, header, made.thumbnails)])
    for name, content in files.items():
        place.store.put(place.folder + name, content)
    place.store.put(f"{place.folder}plain.html", site.plain(title, table, place.pictures))
    place.store.put(f"{place.folder}index.html", site.index(title, files))
    there = {info.key for name in ("assets/", "data/") for info in place.store.list(place.folder + name)}
    _remove(place.store, there - {place.folder + name for name in files})


def _remove(store: Store, keys: Iterable[str]) -> None:
    for key in keys:
        store.delete(key)


def _base(run: Store) -> str | None:
    """Where the names of photographs start from, if the run says."""
    try:
        return ledger.load_record(run).base
    except NotFoundError:
        return None


def _left(run: Store) -> int:
    """How many jobs are still to be done, if the run says."""
    try:
        return ledger.status(run).left
    except NotFoundError:
        return 0
