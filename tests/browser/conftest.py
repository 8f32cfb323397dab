"""A browser for all tests, a page that may not complain, and two sites: a real run's, and one of 20,000 rows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.photos import TINY, encoded, noise
from playwright.sync_api import Browser, Page, Route, sync_playwright
from unit.gallery_rows import row, site

from dreamjobs.engine import RunOptions, run
from dreamjobs.gallery import write_gallery
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

HOSTILE = ("<img src=x onerror=alert(1)>.png", "'\" & <b>bold<!--.png")
GRID = {"objective": ["edges", "parts", "things:3"], "octaves": [1, 2]}
PHOTOGRAPHS = ("a.png", "b.png", *HOSTILE)
DONE = len(PHOTOGRAPHS) * 6
DESKTOP = {"width": 1280, "height": 800}
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Open = Callable[..., Page]
Serve = Callable[[Route], None]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it, or as DREAMJOBS_CHROMIUM names it."""
    path = os.environ.get("DREAMJOBS_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.fail("the gallery's tests drive Chromium, and there is none: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a site's page, at an address and with options of the browser; it may say nothing in the console.

    It is opened from disk, or, where the path is a url, as `serve` answers for it. `allow` is what a message in the
    console may hold all the same.
    """
    contexts, said = [], []

    def open_(path: str, address: str = "", *, allow: str = "", serve: Serve | None = None, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: said.extend([] if allow and allow in message.text else [message.text]))
        url = path if "://" in path else f"file://{path}"
        page.on("request", lambda request: None if request.url.startswith(url[:5]) else said.append(request.url))
        if serve:
            page.route("**/*", serve)
        page.goto(url + address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run of the tiny net: photographs with hostile names, one that cannot be read, and a sequence."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "photos").mkdir()
    for number, name in enumerate(PHOTOGRAPHS):
        (folder / "photos" / name).write_bytes(encoded(noise(number, (96, 64))))
    (folder / "photos" / "torn<script>.png").write_bytes(b"<script>alert(1)</script>")
    (folder / "clip").mkdir()
    (folder / "clip" / "start.png").write_bytes(encoded(noise(7, (48, 48))))
    here = Path.cwd()
    os.chdir(folder)
    try:
        return _run_all()
    finally:
        os.chdir(here)


def _run_all() -> str:
    settings = {name: value for name, value in TINY.items() if name not in GRID}
    for manifest, sources, grid in (
        ("m.parquet", ["photos"], GRID),
        ("s.parquet", ["clip/start.png"], {"frames": 3, "objective": "edges", "octaves": 1}),
    ):
        build(sources, manifest, [grid])
        run(manifest, "run", settings, RunOptions(inline=True, extend=True))
    return write_gallery(open_store("run"))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of 20,000 rows that are made up: 1,000 photographs, five objectives, four depths of octaves."""
    url = str(tmp_path_factory.mktemp("large") / "run")
    looks = [
        (objective, octaves) for objective in ("mix4b", "mix6a", "mix8c", "mix8c:3", "mix8d") for octaves in range(2, 6)
    ]
    rows = [
        row(number, f"2024/IMG_{number // 20:04d}.jpg", row=number // 20 + 1, objective=objective, octaves=octaves)
        for number, (objective, octaves) in enumerate(looks * 1000)
    ]
    return site(url, rows)
