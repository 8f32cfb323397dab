"""Writes docs/vocabulary.md and its pictures: every word of dreaming, dreamed once.

    python docs/vocabulary.py DIR

DIR holds scikit-image's photographs (its wheel's `skimage/data`; `coffee.png` and `chelsea.png` are CC0). Everything is
one manifest and one run.
"""

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from dreamjobs import results, run
from dreamjobs.engine import RunOptions
from dreamjobs.manifest import param_type
from dreamjobs.storage import open_store

HERE = Path(__file__).parent
PHOTO, PATTERN, SIDE = "chelsea.png", "pattern.png", 240


@dataclass(frozen=True)
class Item:
    """One word: what it is called, what it does, and the settings that show it."""

    name: str
    text: str
    settings: dict[str, Any] = field(default_factory=dict)
    image: str = PHOTO


FEATURE = {"start": "natural", "size": "160", "octaves": 3, "octave_scale": 1.5, "steps": 40, "jitter": 8,
           "jitter_scale": 0.05, "jitter_rotate": 5.0, "step_size": 0.01}  # fmt: skip
SECTIONS: dict[str, list[Item]] = {
    "Objectives": [
        Item("mix4b", "a low layer: strokes", {"objective": "mix4b"}),
        Item("mix8a", "a layer further up", {"objective": "mix8a"}),
        Item("mix8c", "the default", {"objective": "mix8c"}),
        Item("mix8d", "deeper", {"objective": "mix8d"}),
        Item("mix16a", "the deepest layer before the classes", {"objective": "mix16a"}),
        Item("mean(mix8c)", "the mean activation in place of the L2 norm", {"objective": "mean(mix8c)"}),
        Item("mix8c:7", "one channel", {"objective": "mix8c:7"}),
        Item("mix8c:7,40,99", "several channels", {"objective": "mix8c:7,40,99"}),
        Item("mix8c:strong(5)", "the channels that answer most to this photograph", {"objective": "mix8c:strong(5)"}),
        Item("mix8c:weak(5)", "those that answer least", {"objective": "mix8c:weak(5)"}),
        Item("mix8c:average(5)", "those between", {"objective": "mix8c:average(5)"}),
        Item("mix8c:-7,-40", "the layer without two channels", {"objective": "mix8c:-7,-40"}),
        Item("mix8c:7@0.4,0.5", "one neuron, by its place", {"objective": "mix8c:7@0.4,0.5", "jitter": 4}),
        Item("class:lion", "a class, upon the photograph", {"objective": "class:lion", "steps": 20}),
        Item("class:291", "the same by number, upon noise", {"objective": "class:291 - 20*tv", **FEATURE},
             "noise:lion"),
        Item("guide(mix8c, FILE)", "the features of another picture", {"objective": f"guide(mix8c, {PATTERN})"}),
        Item("style(...)", "the texture of another picture",
             {"objective": f"style(mix4b, {PATTERN}) + style(mix8b, {PATTERN})", "optimizer": "adam", "steps": 30}),
        Item("direction(mix8c, FILE)", "a direction in the space of a layer",
             {"objective": "direction(mix8c, direction.json)"}),
        Item("mix8c - 40*tv", "a penalty on differences of neighbours", {"objective": "mix8c - 40*tv"}),
        Item("mix8c - 2*l2", "a penalty on what is far from grey", {"objective": "mix8c - 2*l2"}),
        Item("0.05*mix4b + mix8d", "a sum", {"objective": "0.05*mix4b + mix8d"}),
        Item("mix8c - 4*mix8a", "a difference", {"objective": "mix8c - 4*mix8a"}),
        Item("mix16a | mix8c | mix4b", "one objective an octave",
             {"objective": "mix16a | mix8c | mix4b", "octaves": 3}),
    ],
    "Gradient": [
        Item("normalize: std", "the gradient over its deviation", {"normalize": "std"}),
        Item("normalize: rms", "over its root mean square", {"normalize": "rms"}),
        Item("normalize: laplacian", "every scale equally strong", {"normalize": "laplacian"}),
        Item("laplacian_levels: 2", "with two bands", {"normalize": "laplacian", "laplacian_levels": 2}),
        Item("smoothing: 1", "a cascade of Gaussians", {"smoothing": 1.0}),
        Item("smoothing_growth: 3", "one that widens within an octave", {"smoothing": 0.5, "smoothing_growth": 3.0}),
        Item("schedule: cosine", "steps that become smaller", {"schedule": "cosine"}),
        Item("optimizer: momentum", "steps that go on", {"optimizer": "momentum"}),
        Item("optimizer: adam", "steps of equal length everywhere", {"optimizer": "adam"}),
        Item("jitter: 0", "no shifts: the net's grid shows", {"jitter": 0}),
        Item("jitter_scale, jitter_rotate", "random zoom and turn", {"jitter_scale": 0.1, "jitter_rotate": 15.0}),
        Item("until: 0.02", "an octave ends when it hardly rises", {"until": 0.02, "steps": 40}),
    ],
    "Picture": [
        Item("start: noise", "a channel from grey noise", {**FEATURE, "start": "noise", "objective": "mix8c:12"},
             "noise:channel"),
        Item("start: natural", "the same from noise with the colours of photographs",
             {**FEATURE, "objective": "mix8c:12"}, "noise:channel"),
        Item("start: blend", "noise blended into the photograph", {"start": "blend", "noise": 0.5}),
        Item("octave_sizes", "sizes of one's own", {"octave_sizes": "60 120 180 240"}),
        Item("rescale: picture", "the whole picture enlarged between octaves", {"rescale": "picture"}),
        Item("blend: 0.4", "the photograph mixed in at each octave", {"rescale": "picture", "blend": 0.4}),
        Item("mask", "where it dreams", {"mask": "mask.png"}),
        Item("keep_colors", "the photograph's colours", {"keep_colors": True}),
        Item("frames, zoom, rotate", "a sequence, fed back with a zoom (an animation)",
             {"frames": 12, "zoom": 1.06, "rotate": 2.0, "octaves": 2, "steps": 4, "max_side": 160, "fps": 8.0}),
    ],
}  # fmt: skip


def write_matter(folder: Path, photos: Path) -> None:
    """The photographs, a pattern to be guided by, a mask and a direction."""
    for name in (PHOTO, "coffee.png"):
        Image.open(photos / name).convert("RGB").save(folder / name)
    pattern = Image.open(photos / "coffee.png").convert("RGB").crop((120, 60, 480, 330))
    pattern.save(folder / PATTERN)
    mask = Image.new("L", (300, 200))
    ImageDraw.Draw(mask).ellipse((90, 10, 290, 190), fill=255)
    mask.resize((60, 40)).resize((300, 200)).save(folder / "mask.png")
    (folder / "direction.json").write_text(str([(-1) ** (i % 3) for i in range(channels("mix8c"))]))


def channels(layer: str) -> int:
    from dreamjobs import load_net

    return next(info.channels for info in load_net().layers() if info.name == layer)


def write_manifest(path: Path) -> None:
    rows = [
        {"image": item.image, "meta_name": item.name, "max_side": SIDE, "format": "jpeg", "quality": 88} | item.settings
        for items in SECTIONS.values()
        for item in items
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    fields = [(name, pa.string() if name in ("image", "meta_name") else param_type(name)) for name in names]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), path)


def page(outputs: dict[str, str]) -> str:
    lines = [
        "# The vocabulary, dreamed",
        "",
        "Every word once, on one photograph (`chelsea.png` of scikit-image, CC0; the pattern is a part of its",
        "`coffee.png`), 240 pixels wide, with the built-in net and the defaults but for what stands there. Written by",
        "`python docs/vocabulary.py DIR`. What the words mean in full: [objectives](objectives.md),",
        "[parameters](parameters.md).",
        "",
    ]
    for section, items in SECTIONS.items():
        lines += [f"## {section}", "", "| | | |", "|---|---|---|"]
        for item in items:
            settings = "<br>".join(f"`{name}: {value}`" for name, value in item.settings.items())
            picture = f"![{item.name}](vocabulary/{outputs[item.name]})"
            lines.append(f"| {picture} | **{_cell(item.name)}** | {item.text}<br>{_cell(settings)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    photos = parser.parse_args().photos
    out = HERE / "vocabulary"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_matter(folder, photos)
        write_manifest(folder / "manifest.parquet")
        summary = run(str(folder / "manifest.parquet"), str(folder / "run"), {}, RunOptions(inline=True))
        if summary.failed:
            raise SystemExit(f"{summary.failed} failed; see the results")
        outputs = {}
        for old in out.iterdir():
            old.unlink()
        for row in results.read(open_store(str(folder / "run")), ("meta_name", "output")).to_pylist():
            item = row["meta_name"]
            ending = row["output"].rpartition(".")[2]
            slug = "".join(c if c.isalnum() else "-" for c in item).strip("-")
            outputs[item] = f"{slug}.{ending}"
            (out / outputs[item]).write_bytes((folder / "run" / row["output"]).read_bytes())
    (HERE / "vocabulary.md").write_text(page(outputs))


if __name__ == "__main__":
    main()
