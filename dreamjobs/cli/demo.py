"""`dreamjobs demo`: the real pipeline on a small archive of photographs, offline."""

import importlib.util
import os
import shutil

import typer

from dreamjobs.cli.progress import watch
from dreamjobs.engine import RunOptions, run
from dreamjobs.errors import InputError
from dreamjobs.gallery import write_gallery
from dreamjobs.manifest import build
from dreamjobs.storage import join_url, open_store

_ACTORS = 2
_LAYERS = ["mix4b", "mix8d"]
_MAX_SIDE = 640
_NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg")


def run_demo(folder: str, photos: str | None) -> int:
    """Manifest, run, gallery in `folder`; prints where each is. Returns the exit code.

    Raises:
        InputError: if there are no photographs: neither a folder nor scikit-image.
    """
    manifest, run_url = os.path.join(folder, "demo.parquet"), os.path.join(folder, "run")
    source = os.path.expanduser(photos) if photos else _bundled(os.path.join(folder, "photos"))
    built = build([source], manifest, [{"objective": _LAYERS, "max_side": _MAX_SIDE}])
    typer.echo(f"manifest: {manifest}, {built.photographs} photographs x layers {', '.join(_LAYERS)}")
    with watch() as watcher:
        summary = run(manifest, run_url, {}, RunOptions(actors=_ACTORS, extend=True), watcher)
    store = open_store(run_url)
    typer.echo(
        f"run:      {summary.done} done, {summary.failed} failed, {summary.done_before} done before, "
        f"{summary.seconds:.0f} s"
    )
    typer.echo(f"results:  {join_url(store.url, 'results')}")
    typer.echo(f"pictures: {join_url(store.url, 'images')}")
    typer.echo(f"gallery:  {write_gallery(store)}")
    return 1 if summary.failed or summary.failed_before else 0


def _bundled(folder: str) -> str:
    """A folder of the photographs that scikit-image's wheel carries, in the public domain or under CC0."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "the demo's photographs come with scikit-image: pip install 'dreamjobs[demo]', or give --photos DIR"
        )
    os.makedirs(folder, exist_ok=True)
    for name in _NAMES:
        # Times are kept, so that the demo run again finds its pictures done.
        shutil.copy2(os.path.join(found.submodule_search_locations[0], "data", name), os.path.join(folder, name))
    return folder
