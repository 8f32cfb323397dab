"""Writing the site: previews first, then data, the page last, so that a page never names what is not there yet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dreamjobs import ledger, results
from dreamjobs.errors import NotFoundError
from dreamjobs.gallery import data, previews, site
from dreamjobs.gallery.data import Row, Table
from dreamjobs.gallery.summary import summarize
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
    on_made: Callable[[int], None] = lambda number: None,
) -> str:
    """Write the site of what is done and failed so far; returns the path or url of its page.

    It stands in RUN and links to RUN's pictures; or it stands in `out`, with a copy of every picture, and can be
    moved. What an earlier call made is kept where it still holds, and removed where not. `on_made` is told how many
    previews were made.
    """
    choices = choices or Choices()
    place = _Place(run, Keys.GALLERY.rpartition("/")[0] + "/", "../") if out is None else _Place(out, "", "")
    table = Table.of(_rows(run))
    if out is not None:
        previews.copy_pictures(run, out, table.done)
    made = _make_previews(run, place, table, choices, on_made)
    _write_files(run, place, table, made, choices)
    return join_url(place.store.url, f"{place.folder}index.html")


@dataclass(frozen=True)
class _Place:
    """Where the site stands, and how its page leads to the folder of the pictures' keys."""

    store: Store
    folder: str
    pictures: str


@dataclass(frozen=True)
class _Made:
    """The previews there are: the hashes of pictures that have one, and each photograph's link, empty for none."""

    thumbnails: frozenset[str]
    photographs: tuple[str, ...]


def _rows(run: Store) -> list[Row]:
    table = results.read(run)
    rows: list[Row] = table.drop_columns([name for name in _HEAVY if name in table.column_names]).to_pylist()
    return rows


def _make_previews(run: Store, place: _Place, table: Table, choices: Choices, on_made: Callable[[int], None]) -> _Made:
    base = _base(run) if choices.photographs else None
    thumbs = previews.thumbnails(place.folder, run, table.done)
    photos = previews.photographs(place.folder, base, table.done) if base is not None else {}
    wanted = [*thumbs.values(), *photos.values()]
    there = {info.key for name in ("thumbs/", "photographs/") for info in place.store.list(place.folder + name)}
    largest = max((max(row["width"] * row["height"], _source_pixels(row)) for row in table.done), default=0)
    keys = previews.make(place.store, wanted, there, largest, on_made)
    _remove(place.store, there - {preview.key for preview in wanted})
    links = [photos[image].key if image in photos else "" for image in table.images]
    return _Made(
        frozenset(sha256 for sha256, preview in thumbs.items() if preview.key in keys),
        tuple(link.removeprefix(place.folder) if link in keys else "" for link in links),
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
