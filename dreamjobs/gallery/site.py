"""The site's own files: the page, its scripts and style, data as scripts, and a plain list for where none runs.

A page opened from disk may not fetch, so data are scripts that call `dreamjobs.<name>(...)`. What such a call holds is
ASCII without `<`, so nothing in a name ends a script or a line.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from dreamjobs.gallery import data
from dreamjobs.gallery.data import Table

SCRIPTS = ("rows.js", "place.js", "dom.js", "filters.js", "wall.js", "matrix.js", "recipe.js", "picture.js", "lists.js")
_ASSETS = ("style.css", "icon.svg", "data.js", *SCRIPTS, "app.js")


def call(name: str, *values: Any) -> bytes:
    """A script that gives the page values: a call, whatever the values hold."""
    texts = (json.dumps(value, separators=(",", ":"), allow_nan=False) for value in values)
    return f"dreamjobs.{name}({','.join(texts)});\n".replace("<", "\\u003c").encode("ascii")


def data_files(table: Table, header: Mapping[str, Any], previews: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    """Names under the site and contents of the data: what is read at once, then the details."""
    yield "data/run.js", call("run", header)
    for number, chunk in enumerate(data.chunks(table, previews)):
        yield f"data/rows-{number}.js", call("rows", chunk)
    if table.failed:
        yield "data/failed.js", call("failures", data.failures(table))
    for number, details in enumerate(data.details(table)):
        yield f"data/details-{number}.js", call("details", number, details)


def asset_files() -> Iterator[tuple[str, bytes]]:
    """Names under the site and contents of what the package carries."""
    for name in _ASSETS:
        yield f"assets/{name}", _packaged(name)


def index(title: str, written: Mapping[str, bytes]) -> bytes:
    """The page that loads these files. Links carry a hash of what they lead to, so that no browser shows the old."""
    data_names = [name for name in written if name.startswith("data/") and not name.startswith("data/details-")]
    scripts = ["assets/data.js", *data_names, *(f"assets/{name}" for name in SCRIPTS), "assets/app.js"]
    tags = "\n".join(f'<script src="{_versioned(name, written[name])}" defer></script>' for name in scripts)
    page = _packaged("index.html").decode()
    for name, value in (
        ("title", escape(title)),
        ("style", _versioned("assets/style.css", written["assets/style.css"])),
        ("scripts", tags),
    ):
        page = page.replace(f"{{{{{name}}}}}", value)
    return page.encode()


def plain(title: str, table: Table, pictures: str) -> bytes:
    """Every picture as a link and every failure as a line, without script; `pictures` leads from here to them."""
    done = (_plain_line(row, pictures + quote(row["output"])) for row in table.done)
    failed = (
        f"{_plain_line(row)} {escape(str(row['error_type']))}: {escape(str(row['error']))}" for row in table.failed
    )
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="dark light">',
        f"<title>{escape(title)}</title>\n<h1>{len(table.done):,} pictures</h1>",
        *_list(done),
        f"<h2>{len(table.failed):,} failed</h2>" if table.failed else "",
        *_list(failed),
        "</html>\n",
    ]
    return "\n".join(parts).encode("utf-8", "surrogateescape")


def _plain_line(row: Mapping[str, Any], link: str = "") -> str:
    name = escape(row["image"])
    return (f'<a href="{escape(link)}">{name}</a>' if link else name) + f" {escape(data.settings(dict(row)))}"


def _list(lines: Iterable[str]) -> Iterator[str]:
    yield "<ul>"
    yield from (f"<li>{line}" for line in lines)
    yield "</ul>"


def _versioned(name: str, content: bytes) -> str:
    return f"{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


def _packaged(name: str) -> bytes:
    return (files("dreamjobs.gallery") / "page" / name).read_bytes()
