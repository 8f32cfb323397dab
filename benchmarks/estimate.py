"""Is the time that `dreamjobs plan` tells the time that `dreamjobs run` takes? Both are done, and compared.

    python benchmarks/estimate.py PHOTO... [--rounds 3] [--actors 2] [--set NAME=VALUE ...]

Unless settings are given, each photograph is dreamed with two layers, at two sizes, with 2 and with 4 octaves. Each
round plans with dreams timed anew, runs with Ray into an empty folder, and plans again from that run's results. A line
a round: seconds that each plan said and the run took, from the command's start to its end, their ratios, and the
machine's load average before.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

GRID = ["objective=[mix4b, mix8c]", "max_side=[320, 640]", "octaves=[2, 4]", "steps=20"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--set", nargs="+", default=GRID, metavar="NAME=VALUE", help="the grid")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest = os.path.join(folder, "m.parquet")
        os.makedirs(os.path.join(folder, "photos"))
        for photo in args.photos:
            shutil.copy2(photo, os.path.join(folder, "photos"))
        sets = [word for item in args.set for word in ("--set", item)]
        dreamjobs("manifest", os.path.join(folder, "photos"), "-o", manifest, *sets)
        for number in range(args.rounds):
            say(compare(manifest, os.path.join(folder, f"run{number}"), ["--actors", str(args.actors)]))


def compare(manifest: str, run: str, actors: list[str]) -> dict[str, object]:
    """One round."""
    load = os.getloadavg()[0]
    told = json.loads(dreamjobs("plan", manifest, run, "--fresh", "--json", *actors))
    begun = time.perf_counter()
    dreamjobs("run", manifest, run, *actors)
    took = time.perf_counter() - begun
    shutil.rmtree(os.path.join(run, "images"))
    again = json.loads(dreamjobs("plan", manifest, "--from", run, "--json", *actors))
    return {
        "jobs": told["jobs"],
        "run_s": round(took, 1),
        "plan_s": round(told["seconds"], 1),
        "ratio": round(told["seconds"] / took, 2),
        "plan_parts_s": {name: round(value, 1) for name, value in told["wall"].items()},
        "plan_from_run_s": round(again["seconds"], 1),
        "ratio_from_run": round(again["seconds"] / took, 2),
        "load_before": round(load, 1),
    }


def dreamjobs(*arguments: str) -> str:
    """A command's output; its errors end this program."""
    done = subprocess.run(
        [sys.executable, "-m", "dreamjobs", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def say(facts: dict[str, object]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
