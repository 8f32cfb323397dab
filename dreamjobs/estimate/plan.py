"""`plan`: what a manifest will take, before anything is spent."""

import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dreamjobs import ledger
from dreamjobs.engine.asking import Asked, ask
from dreamjobs.engine.plan import Plan
from dreamjobs.errors import InputError
from dreamjobs.estimate.calibrate import Probe, calibrate, make_probe
from dreamjobs.estimate.ends import Ends, bytes_out, measure_ends
from dreamjobs.estimate.history import History, read_history
from dreamjobs.estimate.rates import Rate, RateFile
from dreamjobs.estimate.report import Estimate, Sources, make_estimate
from dreamjobs.estimate.sample import Sample, bytes_ratio, corrections, run_sample, spread
from dreamjobs.estimate.tally import Tally
from dreamjobs.estimate.wall import Layout, wall
from dreamjobs.estimate.work import Kind, Weigher
from dreamjobs.jobs import Keys
from dreamjobs.ledger import Index, Shard
from dreamjobs.storage import Store, open_store
from dreamjobs.worker import Dreamer, Library, best_device, versions

Note = Callable[[str], None]


@dataclass(frozen=True)
class PlanOptions:
    """What the run will have, and where rates come from: an earlier run (`history`), the cache unless `fresh`, or
    dreams timed now. `sample` jobs are dreamed first.
    """

    actors: int | None = None
    device: str | None = None
    history: str | None = None
    fresh: bool = False
    sample: int = 0
    usd_per_hour: float | None = None


def plan(
    manifest_url: str,
    run_url: str | None = None,
    settings: Mapping[str, Any] | None = None,
    options: PlanOptions | None = None,
    on_note: Note = lambda note: None,
) -> Estimate:
    """What `run` will take for what a manifest asks for and RUN lacks: jobs, pictures, bytes, hours, cost.

    Raises:
        InputError: as `run`; for an earlier run without times for these nets; for a device that is not there.
        RunError: if a process that times dreams dies, or a sample is to go into a RUN that has another driver.
    """
    options = options or PlanOptions()
    if options.sample and options.history:
        raise InputError("--sample and --from cannot be given together: both say how long dreams take")
    begun = time.monotonic()
    asked, library = ask(manifest_url, settings or {})
    planner = _Planner(asked, library, options, on_note, run_url)
    return planner.estimate(time.monotonic() - begun)


class _Planner:
    """Lives as long as one call of `plan`."""

    def __init__(
        self, asked: Asked, library: Library, options: PlanOptions, on_note: Note, run_url: str | None
    ) -> None:
        self._asked, self._library, self._options, self._note = asked, library, options, on_note
        self._store = open_store(run_url) if run_url else None
        self._device = options.device or best_device()
        self._layout = lay_out(options.actors, asked.threads, self._device)
        self._weigher = Weigher(library)
        self._notes: list[str] = []

    def estimate(self, check_s: float) -> Estimate:
        """Count, find rates, put both together."""
        todo = self._plan()
        tally, outlook = self._tally(todo), todo.outlook()
        history = self._history()
        rates, sources = self._rates(tally, history, self._layout)
        ends = history.ends if history else measure_ends(tally)
        rates = {kind: replace(rate, frame_megapixel_s=ends.frame_s) for kind, rate in rates.items()}
        sample = self._sample(todo, tally) if self._options.sample and tally.groups else None
        if sample:
            rates, ends = self._refined(sample, tally, rates, ends)
            todo = self._plan()
            tally, outlook = self._tally(todo), todo.outlook()
        by_group = {key: rates[key.kind] for key in tally.groups}
        took = wall(tally, by_group, ends, self._layout, check_s)
        estimate = make_estimate(tally, by_group, took, self._layout, sources)
        return replace(
            estimate,
            jobs_done=outlook.done,
            jobs_failed=outlook.failed,
            bytes_out=bytes_out(ends, tally),
            device=device_name(self._device),
            usd_per_hour=self._options.usd_per_hour,
            sample=sample.url if sample else None,
            notes=tuple(dict.fromkeys([*self._notes, *_remarks(tally, self._weigher, self._layout)])),
        )

    def _plan(self) -> Plan:
        """The jobs that RUN lacks; all of them where there is none."""
        store, record = self._store, self._asked.record
        index = Index.empty()
        if store and store.exists(Keys.RUN):
            differs = ledger.load_record(store).differences(record)
            if differs:
                self._notes.append(f"RUN was started with something else ({'; '.join(differs)}): run takes --extend")
            index = Index.load(store, extended=bool(differs))
        return Plan(record, self._asked.manifest, index, Shard(), None, frozenset())

    def _tally(self, todo: Plan) -> Tally:
        tally = Tally()
        for number, job in enumerate(todo.jobs(), start=1):
            tally.add(job, self._weigher.weigh(job))
            if number % 10_000 == 0:
                self._note(f"{number:,} jobs counted")
        return tally

    def _history(self) -> History | None:
        if not self._options.history:
            return None
        digests = set(self._asked.record.weights.values())
        history = read_history(open_store(self._options.history), self._library, digests)
        if history.devices != (device_name(self._device),):
            self._notes.append(f"{self._options.history} was dreamed on {', '.join(history.devices)}")
        return history

    def _rates(self, tally: Tally, history: History | None, layout: Layout) -> tuple[dict[Kind, Rate], Sources]:
        """A rate for each kind: from the earlier run, from the cache, or timed now."""
        probes = [make_probe(job, self._weigher.weigh(job), self._weigher) for _, job in tally.kinds()]
        found = {probe.kind: history.rates[probe.kind] for probe in probes if history and probe.kind in history.rates}
        before = len(found)
        processes = min(layout.actors, layout.a_machine)
        kept = {} if self._options.fresh else RateFile().load()
        for probe in probes:
            if probe.kind not in found and (rate := kept.get(rate_key(probe, processes, self._device))):
                found[probe.kind] = rate
        cached = len(found) - before
        missing = [probe for probe in probes if probe.kind not in found]
        found |= self._timed(missing, processes)
        return found, Sources(before, cached, len(missing), self._options.history)

    def _timed(self, probes: list[Probe], processes: int) -> dict[Kind, Rate]:
        if not probes:
            return {}
        self._note(f"timing {len(probes)} kinds of dream in {processes} processes")
        rates = calibrate(
            probes, processes, self._device, lambda done: self._note(f"{done} of {len(probes)} kinds timed")
        )
        RateFile().add({rate_key(probe, processes, self._device): rates[probe.kind] for probe in probes})
        return rates

    def _sample(self, todo: Plan, tally: Tally) -> Sample:
        jobs = sum(group.jobs for group in tally.groups.values())
        chosen = spread(todo.jobs(), jobs, self._options.sample)
        self._note(f"dreaming a sample of {len(chosen)} jobs")
        return run_sample(chosen, self._place(), self._asked.record, self._library, self._device)

    def _place(self) -> Store:
        return self._store or open_store(tempfile.mkdtemp(prefix="dreamjobs-sample-"))

    def _refined(
        self, sample: Sample, tally: Tally, rates: dict[Kind, Rate], ends: Ends
    ) -> tuple[dict[Kind, Rate], Ends]:
        """Rates and sizes of files corrected by the sample, which one process dreamed alone."""
        if sample.failed:
            self._notes.append(f"{sample.failed} jobs of the sample failed; {sample.url}/results says why")
        alone, _ = self._rates(tally, None, replace(self._layout, actors=1))
        factors = corrections(sample, alone, self._weigher)
        ratios = {**ends.bytes_a_pixel, **bytes_ratio(sample, self._weigher)}
        return {kind: rate.times(factors[kind]) for kind, rate in rates.items()}, replace(ends, bytes_a_pixel=ratios)


def lay_out(actors: int | None, threads: int, device: str) -> Layout:
    """The actors of a run: those asked for, else what `run` takes here: one a GPU, or cores / threads."""
    cores = os.cpu_count() or 1
    if device == "cpu":
        here = max(1, cores // threads)
    else:
        import torch

        here = max(1, torch.cuda.device_count())
    return Layout(actors or here, here, cores, device == "cpu")


def device_name(device: str) -> str:
    """The device in words; `cuda` where a graphics card is planned for that is not here."""
    import torch

    return Dreamer(device).device if device == "cpu" or torch.cuda.is_available() else device


def rate_key(probe: Probe, processes: int, device: str) -> str:
    """What a rate in the cache depends on: weights, layers, shaping and threads; size; machine, device, torch."""
    side = 64 * math.ceil(max((job.source.height or 0) for job in probe.jobs) / 64)
    place = f"{platform.node()}|{os.cpu_count()} cores|{device_name(device)}|{processes} at once"
    return f"{probe.kind.key}|{side}|{place}|torch {versions()['torch']}"


def _remarks(tally: Tally, weigher: Weigher, layout: Layout) -> Iterator[str]:
    if weigher.photographs.guessed:
        yield "some photographs have no size in the manifest; the mean of the first 16 of them was taken"
    if tally.unknown_bytes:
        yield f"{tally.unknown_bytes:,} jobs have photographs without size_bytes; bytes in is that of the others"
    if tally.ends_early:
        yield f"{tally.ends_early:,} jobs may end octaves early (until); they are counted in full"
    if layout.machines > 1:
        yield f"{layout.a_machine} actors a machine: {layout.machines} machines like this one are assumed"
