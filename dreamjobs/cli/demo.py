"""`dreamjobs demo`: the real pipeline on a small archive of photographs, offline."""

import importlib.util
import os
import tempfile

import typer

from dreamjobs.cli.progress import watch
from dreamjobs.engine import RunOptions, run
from dreamjobs.errors import InputError
from dreamjobs.gallery import write_gallery
from dreamjobs.manifest import build
from dreamjobs.storage import join_url, open_store

_ACTORS = 2
_MAX_SIDE = 640
_NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg")
_GRID = {"objective": ["mix8b", "mix16a"], "max_side": _MAX_SIDE}


def run_demo(run_url: str, photos: str | None) -> int:
    """Manifest, run, gallery; prints where each is. Returns the exit code.

    Raises:
        InputError: if there are no photographs: neither a folder nor scikit-image.
    """
    sources = [photos] if photos else _bundled()
    with tempfile.TemporaryDirectory() as folder:
        manifest = os.path.join(folder, "manifest.parquet")
        built = build(sources, manifest, [dict(_GRID)])
        typer.echo(f"manifest: {built.photographs} photographs x {len(_GRID['objective'])} layers")  # type: ignore[arg-type]
        with watch() as watcher:
            summary = run(manifest, run_url, {}, RunOptions(actors=_ACTORS, extend=True), watcher)
    store = open_store(run_url)
    typer.echo(
        f"run: {summary.done} done, {summary.failed} failed, {summary.done_before} done before, {summary.seconds:.0f} s"
    )
    typer.echo(f"pictures: {join_url(store.url, 'images')}")
    typer.echo(f"results:  {join_url(store.url, 'results')}")
    typer.echo(f"gallery:  {write_gallery(store)}")
    return 1 if summary.failed else 0


def _bundled() -> list[str]:
    """Photographs in the public domain or under CC0 that scikit-image's wheel carries."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "the demo's photographs come with scikit-image: pip install 'dreamjobs[demo]', or give --photos DIR"
        )
    folder = os.path.join(found.submodule_search_locations[0], "data")
    return [os.path.join(folder, name) for name in _NAMES]
