"""Makes docs/net-layers.jpg: photographs by layers of the built-in net, as a run over a grid and a contact sheet.

python docs/layers.py OUT.jpg PHOTO...
"""

import io
import os
import sys
import tempfile

from PIL import Image

from dreamjobs import images, results, run
from dreamjobs.engine import RunOptions
from dreamjobs.images.sheet import contact_sheet
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

LAYERS = ["mix4a", "mix4c", "mix8a", "mix8b", "mix8c", "mix8d", "mix16a"]


def main(out: str, photos: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest, made = os.path.join(folder, "m.parquet"), os.path.join(folder, "run")
        build(photos, manifest, [{"objective": LAYERS, "max_side": 360, "format": "png"}])
        run(manifest, made, {}, RunOptions(inline=True))
        store = open_store(made)
        rows = results.read(store, ("row", "objective", "output")).to_pylist()
        where = {(row["row"], row["objective"]): row["output"] for row in rows}
        cells = [
            [images.decode(store.get(where[number, layer])).pixels for layer in LAYERS]
            for number in range(1, len(photos) + 1)
        ]
    sheet = contact_sheet(cells, column_labels=LAYERS, row_labels=["" for _ in photos])
    Image.open(io.BytesIO(sheet)).convert("RGB").save(out, quality=85)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
