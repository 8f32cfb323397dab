"""How much work one driver hands out, and what that takes: no picture is dreamed but by `ray`.

    python benchmarks/driver.py schedule --jobs 1000000        # the scheduler alone
    python benchmarks/driver.py plan --rows 1000000            # a manifest of 10 points a row, checked, planned, driven
    python benchmarks/driver.py rows --rows 100000             # results written and merged, as a run does
    python benchmarks/driver.py make-run RUN --rows 1000000    # a manifest of 10 points a row, of which ...
    python benchmarks/driver.py resume RUN                     # ... all but the last job are done: until that is found
    python benchmarks/driver.py ray --jobs 2000                # tiny pictures and the tiny net on a local Ray

A line of JSON a figure. `cpu_s` is this process's own processor time, which a busy machine changes less than `wall_s`;
`rss_mib` is the process's memory at ten moments spread over the work, `peak_mib` its largest ever.
"""

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dreamjobs import ledger, results
from dreamjobs.engine import RunOptions, Watcher, run
from dreamjobs.engine.asking import Asked, ask, ask_apart
from dreamjobs.engine.loop import Control, Hooks, drive
from dreamjobs.engine.plan import Plan
from dreamjobs.images import Photo, encode
from dreamjobs.jobs import ALGORITHM, Artifact, Job, Outcome, Seconds, Source
from dreamjobs.ledger import Index, RunRecord, Shard
from dreamjobs.manifest import build, open_manifest
from dreamjobs.params import make_params
from dreamjobs.schedule import (
    Action,
    ActorReady,
    Bundle,
    Event,
    Finish,
    Limits,
    Scheduler,
    StageDone,
    Start,
    StartActor,
)
from dreamjobs.storage import Store, open_store
from dreamjobs.worker import versions

POINTS = list(range(1, 11))
SETTINGS = {"net": "tiny", "objective": "things", "octaves": 1, "jitter": 0}
LIMITS = Limits(actors=64, jobs=160, fetches=16, stores=16)
SECONDS = Seconds(0.01, 0.01, 1.0, 0.05, 0.01)
ARTIFACT = Artifact("images/a.jpg", "0" * 64, 50_000, 640, 480, 640, 480, (1.0,) * 40, SECONDS, "cuda", "n", "n:1")


class AtOnce:
    """A backend whose actors return at once; like Ray's it reports at most 64 events together."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()

    def perform(self, action: Action) -> None:
        if isinstance(action, StartActor):
            self._events.append(ActorReady(action.actor))
        elif isinstance(action, Bundle):
            self._events += [StageDone(job.id, "make", artifact=ARTIFACT) for job in action.jobs]
        elif isinstance(action, Start):
            artifact = ARTIFACT if action.stage == "store" else None
            self._events.append(StageDone(action.job.id, action.stage, artifact=artifact))

    def events(self, timeout_s: float) -> list[Event]:
        return [self._events.popleft() for _ in range(min(64, len(self._events)))]

    def forget(self, job: Job) -> None:
        pass

    def close(self) -> None:
        pass


class Gauge:
    """Samples this process's memory while it is entered."""

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Gauge":
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s, self.wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._wall_s
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.2):
            self._samples.append(_resident_mib())

    def facts(self) -> dict[str, Any]:
        """What was seen."""
        every = max(1, len(self._samples) // 10)
        return {
            "cpu_s": round(self.cpu_s, 2),
            "wall_s": round(self.wall_s, 2),
            "rss_mib": self._samples[::every],
            "peak_mib": _peak_mib(),
            "load": round(os.getloadavg()[0], 1),
        }


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _resident_mib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 2**20


@contextmanager
def measured(what: str, count: int, unit: str, **more: Any) -> Iterator[None]:
    """Say how long the body took for so many of something."""
    with Gauge() as gauge:
        yield
    rates = {f"{unit}_per_cpu_s": round(count / gauge.cpu_s), f"{unit}_per_wall_s": round(count / gauge.wall_s)}
    print(json.dumps({"what": what, unit: count, **more, **rates, **gauge.facts()}), flush=True)


def jobs_alike(count: int) -> Iterator[Job]:
    """Jobs that differ in their photograph."""
    params = make_params(SETTINGS)
    for number in range(1, count + 1):
        yield Job(number, Source(f"{number}.jpg", f"/p/{number}.jpg", 1, "mtime:1", 640, 480), params, "w")


def schedule(args: argparse.Namespace) -> None:
    """The scheduler, asked and answered directly; the jobs are made beforehand, a thousand in turn."""
    made, scheduler = list(jobs_alike(1000)), Scheduler(LIMITS)
    backend, taken, finished = AtOnce(), 0, 0
    with measured("schedule", args.jobs, "jobs"):
        actions = scheduler.begin()
        while finished < args.jobs:
            for action in actions:
                if isinstance(action, Finish):
                    finished += 1
                else:
                    backend.perform(action)
            actions = []
            while taken < args.jobs and scheduler.has_room(made[taken % 1000]):
                actions += scheduler.submit(made[taken % 1000])
                taken += 1
            for event in backend.events(0):
                actions += scheduler.handle(event)


def write_manifest(path: str, rows: int) -> None:
    """A manifest of `rows` photographs that are nowhere, each with 10 points."""
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("size_bytes", pa.int64()),
            ("mtime", pa.int64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("steps", pa.list_(pa.int64())),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, 8192):
            numbers = range(start, min(start + 8192, rows))
            writer.write_table(pa.Table.from_pylist([_cells(number) for number in numbers], schema=schema))


def _cells(number: int) -> dict[str, Any]:
    name = f"photos/{number // 1000:05d}/img_{number:08d}.jpg"
    stat = {"size_bytes": 1_000_000 + number, "mtime": 1_700_000_000_000_000_000 + number}
    return {"image": name, **stat, "width": 640, "height": 480, "steps": POINTS}


def plan(args: argparse.Namespace) -> None:
    """From a manifest to its last job's end, all but the work itself."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = os.path.join(folder, "m.parquet")
        write_manifest(manifest, args.rows)
        jobs = args.rows * len(POINTS)
        with measured("check", jobs, "jobs"):
            asked, _ = ask_apart(manifest, SETTINGS)
        todo = plan_of(asked.record, asked, open_store(folder))
        with measured("outlook", jobs, "jobs"):
            todo.outlook()
        finished = 0

        def on_finish(finish: Finish) -> None:
            nonlocal finished
            finished += 1

        with measured("drive", jobs, "jobs"):
            drive(todo.jobs(), Scheduler(LIMITS), AtOnce(), Control(), Hooks(on_finish, lambda: None))
        if finished != jobs:
            raise SystemExit(f"{finished:,} of {jobs:,} jobs ended")


def plan_of(record: RunRecord, asked: Asked, run_store: Store) -> Plan:
    return Plan(record, asked.manifest, Index.load(run_store), Shard(), None, frozenset())


def rows(args: argparse.Namespace) -> None:
    """Results as `engine.session` writes them: a part of 2,000 rows, merged every 300 parts and at the end."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        appender, merged = results.Appender(store, "1-of-1", "stamp"), 0
        with measured("rows", args.rows, "rows"):
            for job in jobs_alike(args.rows):
                outcome = Outcome(job, 1, results.now(), ARTIFACT)
                appender.add(results.to_row(outcome, ALGORITHM, versions()))
                if appender.parts - merged >= 300:
                    merged = appender.parts
                    results.compact(store, f"stamp-{merged:06d}", prefix="1-of-1-")
        with measured("flush and compact", args.rows, "rows"):
            appender.flush()
            results.compact(store, "stamp-999999", prefix="1-of-1-")


def make_run(args: argparse.Namespace) -> None:
    """RUN as a run of a manifest leaves it that lacks the last job only: `results/` in parts of 50,000 rows."""
    store = open_store(args.run)
    os.makedirs(args.run, exist_ok=True)
    manifest = os.path.join(args.run, "source.parquet")
    write_manifest(manifest, args.rows)
    record = ask(manifest, SETTINGS)[0].record
    ledger.claim(store, record, extend=False)
    ids: list[str] = []
    part = 0
    for number, job in enumerate(ledger.planned(record, open_manifest(manifest)), start=1):
        ids += [job.id] if number < record.jobs else []
        if len(ids) == 50_000 or number == record.jobs:
            template = results.to_row(Outcome(job, 1, datetime.now(UTC), ARTIFACT), ALGORITHM, versions())
            part += 1
            key = f"results/1-of-1-stamp-{part:06d}-compact.parquet"
            store.put(key, part_of(template, ids, number))
            ids.clear()
    print(json.dumps({"what": "make-run", "rows": args.rows, "jobs": record.jobs, "parts": part}), flush=True)


def part_of(template: dict[str, Any], ids: list[str], number: int) -> bytes:
    """A part of rows that differ in what differs in earnest: ids, names and hashes."""
    table = pa.Table.from_pylist([template], schema=results.SCHEMA).take(pa.array(np.zeros(len(ids), np.int64)))
    images = [_cells((number - len(ids) + index) // len(POINTS))["image"] for index in range(len(ids))]
    varied = {
        "id": ids,
        "row": [(number - len(ids) + index) // len(POINTS) + 1 for index in range(len(ids))],
        "image": images,
        "output": [f"images/{image[:-4]}--steps-{job_id[:8]}.jpg" for image, job_id in zip(images, ids, strict=True)],
        "sha256": [os.urandom(32).hex() for _ in ids],
    }
    for name, cells in varied.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.array(cells, results.SCHEMA.field(name).type))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def resume(args: argparse.Namespace) -> None:
    """From the results of RUN to the first job that is to be done."""
    store = open_store(args.run)
    record = ledger.load_record(store)
    with measured("resume", record.jobs, "jobs"):
        begun = time.process_time()
        index = Index.load(store)
        loaded_s = time.process_time() - begun
        todo = Plan(record, ledger.own_manifest(store, record), index, Shard(), None, frozenset())
        outlook = todo.outlook()
        counted_s = time.process_time() - begun
        first = next(todo.jobs())
    facts = {"done": outlook.done, "todo": outlook.todo, "first_row": first.row}
    print(json.dumps({**facts, "load_cpu_s": round(loaded_s, 2), "outlook_cpu_s": round(counted_s - loaded_s, 2)}))


def ray(args: argparse.Namespace) -> None:
    """Pictures of 16 x 16 dreamed for one step on a local Ray: how many jobs a second go through all of it.

    Counted from the tenth that ends to the last, so without the start; `tree_cpu_s` is of all processes: the driver,
    Ray's own, actors and tasks.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/photos")
        for number in range(args.jobs // len(POINTS)):
            pixels = np.random.default_rng(number).random((16, 16, 3), np.float32)
            with open(f"{folder}/photos/{number}.png", "wb") as file:
                file.write(encode(Photo(pixels, None, None, "png"), format="png", quality=95, recipe={}))
        build([f"{folder}/photos"], f"{folder}/m.parquet", [{"seed": POINTS}])
        marks: list[tuple[float, float, float]] = []

        def mark(finish: Finish) -> None:
            marks.append((time.monotonic(), time.process_time(), _tree_cpu_s() if len(marks) % 100 == 9 else 0.0))

        settings, options = SETTINGS | {"steps": 1}, RunOptions(actors=args.actors)
        summary = run(f"{folder}/m.parquet", f"{folder}/run", settings, options, Watcher(on_finish=mark))
    last = max(place for place in range(9, len(marks), 100))
    wall_s, cpu_s, tree_cpu_s = (after - before for before, after in zip(marks[9], marks[last], strict=True))
    count = last - 9
    facts = {"what": "ray", "jobs": count, "actors": args.actors, "jobs_per_wall_s": round(count / wall_s)}
    facts |= {"wall_s": round(wall_s, 2), "driver_cpu_s": round(cpu_s, 2), "tree_cpu_s": round(tree_cpu_s, 2)}
    facts |= {"jobs_per_core_s": round(count / tree_cpu_s), "failed": summary.failed, "peak_mib": _peak_mib()}
    print(json.dumps(facts | {"load": round(os.getloadavg()[0], 1)}), flush=True)


def _tree_cpu_s() -> float:
    """Processor time of this process and of all that descend from it and live."""
    parents, ticks = {}, {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
            parents[int(name)], ticks[int(name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family, size = {os.getpid()}, 0
    while size < len(family):
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, name, count in (
        (schedule, "schedule", ("--jobs", 1_000_000)),
        (plan, "plan", ("--rows", 1_000_000)),
        (rows, "rows", ("--rows", 100_000)),
        (make_run, "make-run", ("--rows", 1_000_000)),
        (resume, "resume", None),
        (ray, "ray", ("--jobs", 2000)),
    ):
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        command.set_defaults(function=function)
        if name in ("make-run", "resume"):
            command.add_argument("run", metavar="RUN")
        if count:
            command.add_argument(count[0], type=int, default=count[1])
        if name == "ray":
            command.add_argument("--actors", type=int, default=2)
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
