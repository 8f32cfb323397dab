"""One plain page of a run's pictures: RUN/gallery/index.html, static, no script, no network.

Everything that comes from file names, parameters or errors is escaped; links are relative, so that the page opens
from disk and from a bucket.
"""

from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import quote

from dreamjobs import results
from dreamjobs.jobs import Keys
from dreamjobs.params import PARAM_NAMES, DreamParams
from dreamjobs.storage import Store, join_url

_COLUMNS = ("id", "row", "image", "status", "output", "width", "height", "error_type", "error", *PARAM_NAMES)

_STYLE = """
:root { color-scheme: dark light; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 90rem; padding: 0 1rem; background: Canvas; color: CanvasText; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)); gap: 1.5rem; padding: 0; }
li { list-style: none; }
img { width: 100%; height: 16rem; object-fit: cover; border-radius: 4px; display: block; }
figure { margin: 0; } figcaption { font-size: .85rem; overflow-wrap: anywhere; } small { opacity: .75; }
td, th { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0; overflow-wrap: anywhere; }
"""


def write_gallery(run: Store) -> str:
    """Write the page of what is done and what failed so far; returns its path or url."""
    rows = results.read(run, _COLUMNS).to_pylist()
    run.put(Keys.GALLERY, page(rows).encode())
    return join_url(run.url, Keys.GALLERY)


def page(rows: list[dict[str, Any]]) -> str:
    """The page for rows of the results."""
    rows = sorted(rows, key=lambda row: (row["row"], _settings(row)))
    done = [row for row in rows if row["status"] == "done"]
    failed = [row for row in rows if row["status"] != "done"]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>dreamjobs: {len(done):,} pictures</title>\n<style>{_STYLE}</style>",
            f"<h1>{len(done):,} pictures</h1>",
            "<ul>",
            *map(_figure, done),
            "</ul>",
            *(_failures(failed) if failed else []),
            "</html>\n",
        ]
    )


def _figure(row: dict[str, Any]) -> str:
    link = escape("../" + quote(row["output"]), quote=True)
    name, settings = escape(row["image"], quote=True), escape(_settings(row), quote=True)
    size = f'width="{row["width"]}" height="{row["height"]}"'
    shown = f'<img loading="lazy" src="{link}" alt="Dream of {name}: {settings}" {size}>'
    if row["output"].endswith(".mp4"):
        shown = f'<video muted loop controls preload="metadata" src="{link}" {size}></video>'
    return (
        f'<li><figure><a href="{link}">{shown}</a>'
        f'<figcaption title="{name}">{escape(row["image"].rpartition("/")[2])}<br>'
        f"<small>{settings}</small></figcaption></figure></li>"
    )


def _settings(row: dict[str, Any]) -> str:
    """The objective, and the parameters that differ from the defaults."""
    fields = DreamParams.model_fields
    changed = [
        f"{name} {row[name]}"
        for name in PARAM_NAMES
        if name not in ("objective", "weights", "threads") and row[name] not in (None, fields[name].default)
    ]
    return ", ".join([row["objective"], *changed])


def _failures(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"<h2>{len(rows):,} failed</h2>\n<table>\n<tr><th>photograph</th><th>settings</th><th>why</th></tr>"
    for row in rows:
        cells = (row["image"], _settings(row), f"{row['error_type']}: {row['error']}")
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    yield "</table>"
