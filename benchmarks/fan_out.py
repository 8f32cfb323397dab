"""One large picture by one actor and by two: how much sooner it is there.

    python benchmarks/fan_out.py --photo FILE [--net dreamnet:mix8c] [--megapixels 48] [--steps 10] [--rounds 1]

The photograph is enlarged and dreamed by actors of one thread on a local Ray, in turn by one and by two. Timed is the
dream, from the first crop to the last piece: that actors start, and that the picture is read and written, takes what it
takes for either. By default a picture of twelve tiles takes the ten steps an octave that are `run`'s default, together
eight minutes; fewer steps give more weight to an octave's first round, in which most is stitched.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dreamjobs import images
from dreamjobs.engine import RunOptions, run
from dreamjobs.engine.cluster import start_local
from dreamjobs.engine.distributed import RayBackend
from dreamjobs.images import Photo
from dreamjobs.manifest import build
from dreamjobs.schedule import Start, StartActor

begun: list[float] = []
ended: list[float] = []


class Timed(RayBackend):
    """Notes when the first tile begins and when the picture is to be stored."""

    def perform(self, action: StartActor | Start) -> Any:
        if isinstance(action, Start) and action.stage in ("ascend", "store"):
            (begun if action.stage == "ascend" else ended).append(time.perf_counter())
        return super().perform(action)


def enlarged(path: str, megapixels: float) -> Photo:
    picture = torch.tensor(images.decode(Path(path).read_bytes()).pixels).permute(2, 0, 1)[None]
    scale = math.sqrt(megapixels * 1e6 / (picture.shape[2] * picture.shape[3]))
    large = F.interpolate(picture, scale_factor=scale, mode="bicubic").clamp(0, 1)
    return Photo(np.ascontiguousarray(large[0].permute(1, 2, 0).numpy()), None, None, "jpeg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", required=True)
    parser.add_argument("--net", default="dreamnet:mix8c", help="NET:LAYER; another than dreamnet has random weights")
    parser.add_argument("--megapixels", type=float, default=48)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--sync-steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    import dreamjobs.engine.distributed

    dreamjobs.engine.distributed.RayBackend = Timed  # type: ignore[misc]  # a class put in place of another
    net, _, layer = args.net.partition(":")
    asked = {"net": net, "weights": "default" if net == "dreamnet" else "random", "objective": layer}
    asked |= {"fan_out_mpx": 1.0, "fan_out_tile": args.tile, "sync_steps": args.sync_steps, "steps": args.steps}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = enlarged(args.photo, args.megapixels)
        (folder / "photos").mkdir()
        data = images.encode(photo, format="jpeg", quality=90, recipe={})
        (folder / "photos/large.jpg").write_bytes(data)
        build([str(folder / "photos")], str(folder / "m.parquet"), [])
        start_local(2)
        best: dict[int, float] = {}
        for number in range(args.rounds):
            for actors in (1, 2):
                begun.clear()
                url = str(folder / f"run{number}-{actors}")
                run(str(folder / "m.parquet"), url, asked, RunOptions(actors=actors))
                best[actors] = min(best.get(actors, math.inf), ended[-1] - begun[0])
        print(json.dumps({
            "megapixels": args.megapixels, **asked, "one_s": round(best[1], 1), "two_s": round(best[2], 1),
            "times_faster": round(best[1] / best[2], 2),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
