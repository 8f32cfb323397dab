"""What a run tells Prometheus, read where Prometheus reads it."""

from __future__ import annotations

import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from integration.photos import GATED, POISON, RED, TINY, encoded, go, put_photos, rows, wait_for
from PIL import Image

from dreamjobs.engine import RunOptions, run
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

SETTINGS = {"steps": 3, "octaves": 2, "octave_scale": 2.0}
STEPS = 3 * (24 * 20 + 12 * 10) / 1e6


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scraped(name: str) -> dict[str, float]:
    """The series of a run as the agents of the cluster's nodes show them: `name{tag=value}` without Ray's own tags."""
    import ray

    found: dict[str, float] = {}
    for node in ray.nodes():
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for line in urllib.request.urlopen(url, timeout=10).read().decode().splitlines():
            match = re.fullmatch(r"(ray_dreamjobs_\w+)\{(.*)\} (\S+)", line)
            tags = dict(re.findall(r'(\w+)="(.*?)"', match[2])) if match else {}
            if match and tags.get("run") == name:
                own = [f"{tag}={tags[tag]}" for tag in ("state", "stage", "direction", "le") if tag in tags]
                found[f"{match[1]}{{{','.join(own)}}}"] = float(match[3])
    return found


def test_prometheus_sees_the_run(ray_cluster: None) -> None:
    """Jobs by state, stages, megapixel-steps and bytes have the values of the run's results, under its name."""
    put_photos("photos", 3)
    Path("photos/3.png").write_bytes(b"text")
    build(["photos"], "m.parquet", [])
    go("m.parquet", "seen", SETTINGS, actors=1, limit=2)
    go("m.parquet", "seen", SETTINGS, actors=1)
    found = wait_for(lambda: (now := scraped("seen")).get("ray_dreamjobs_jobs{state=done}") == 3 and now)
    states = {"done": 3, "failed": 1, "in_flight": 0, "waiting": 0}
    assert {state: found[f"ray_dreamjobs_jobs{{state={state}}}"] for state in states} == states
    for stage in ("fetch", "decode", "dream", "encode", "put"):
        assert found[f"ray_dreamjobs_stage_seconds_count{{stage={stage}}}"] == 3
    assert {found[f"ray_dreamjobs_queue_depth{{stage={stage}}}"] for stage in ("fetch", "dream", "store")} == {0}
    assert found["ray_dreamjobs_megapixel_steps_total{}"] == pytest.approx(3 * STEPS)
    done = [row for row in rows("seen") if row["status"] == "done"]
    read = sum(Path(row["image"]).stat().st_size for row in done)
    written = sum(Path("seen", row["output"]).stat().st_size for row in done)
    assert found["ray_dreamjobs_bytes_total{direction=in}"] == read
    assert found["ray_dreamjobs_bytes_total{direction=out}"] == written


@pytest.mark.parametrize("more", [{}, {"fan_out_mpx": 0.002}], ids=["whole", "by tiles"])
def test_prometheus_sees_steps_while_a_job_is_dreamed(gate: Path, more: dict[str, Any]) -> None:
    """An actor counts them as it takes them, so that a job of an hour is not an hour of silence.

    Steps are slow, by a gate, until some are seen.
    """
    put_photos("photos", 1, size=(160, 150))
    build(["photos"], "m.parquet", [])
    name, seen = f"steps{len(more)}", []

    def watch() -> None:
        seen.append(wait_for(lambda: scraped(name).get("ray_dreamjobs_steps_total{}")))
        gate.touch()

    watching = threading.Thread(target=watch)
    watching.start()
    gated = {"net": GATED, "weights": "random", "steps": 200, "octaves": 1}
    assert go("m.parquet", name, gated | more, actors=1).done == 1
    watching.join()
    assert 0 < seen[0] < 200


def test_prometheus_sees_actors_replaced(ray_cluster: None) -> None:
    """Each of the three actors that a job kills is started anew, and counted."""
    put_photos("photos", 1)
    open_store("photos").put("red.png", encoded(Image.new("RGB", (24, 20), RED)))
    build(["photos"], "m.parquet", [])
    assert go("m.parquet", "poisoned", {"net": POISON}, actors=1).failed == 1
    wait_for(lambda: scraped("poisoned").get("ray_dreamjobs_actor_restarts_total{}") == 3)


def test_a_run_in_this_process_records_nothing(ray_cluster: None) -> None:
    """Inline there is no Ray to record with, even where one is connected."""
    put_photos("photos", 1)
    build(["photos"], "m.parquet", [])
    run("m.parquet", "inline", TINY, RunOptions(inline=True))
    go("m.parquet", "later", actors=1)
    wait_for(lambda: scraped("later"))
    assert scraped("inline") == {}
