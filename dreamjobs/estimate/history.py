"""Rates from an earlier run: what its dreams took, other stages beside them, by the columns of its results."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dreamjobs import ledger, results
from dreamjobs.errors import DreamjobsError, RunError
from dreamjobs.estimate.ends import Ends
from dreamjobs.estimate.rates import Rate, Timed, fit
from dreamjobs.estimate.work import JobWork, Kind, Weigher
from dreamjobs.jobs import NO_PHOTOGRAPH, Job, Source
from dreamjobs.params import PARAM_NAMES, make_params
from dreamjobs.storage import Store, join_url
from dreamjobs.worker import Library

_STAGES = ("fetch_s", "decode_s", "dream_s", "encode_s", "put_s")
_COLUMNS = (
    *("row", "image", "status", "source_width", "source_height", "size_bytes", "weights_digest", "device"),
    *_STAGES,
    *PARAM_NAMES,
)
_MOST = 2000  # rows of a kind that are fitted


@dataclass(frozen=True)
class Past:
    """A job of an earlier run: its work, and the cells of its row."""

    work: JobWork
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """What an earlier run says: rates by kind, and ends."""

    rates: dict[Kind, Rate]
    ends: Ends
    devices: tuple[str, ...]


def read_history(run: Store, library: Library, digests: Collection[str]) -> History:
    """Rates of the kinds whose weights have one of these digests.

    Raises:
        NotFoundError: if no run is there.
        RunError: if it dreamed nothing with these weights.
    """
    pasts = list(pasts_of(run, library, digests))
    if not pasts:
        raise RunError(
            f"{run.url!r} has no picture made with the weights that are asked for; leave --from out, or name another"
        )
    return History(rates_of(pasts), ends_of(pasts), tuple(sorted({str(past.cells["device"]) for past in pasts})))


def pasts_of(run: Store, library: Library, digests: Collection[str], ids: Collection[str] = ()) -> Iterator[Past]:
    """The done jobs of a run whose weights are among these, at most 2,000 of a kind; `ids` restricts them further."""
    record, weigher, counts = ledger.load_record(run), Weigher(library), Counter[Kind]()
    for batch in results.read(run, ("id", *_COLUMNS)).to_batches(max_chunksize=1000):
        for cells in batch.to_pylist():
            if cells["status"] != "done" or cells["weights_digest"] not in digests or (ids and cells["id"] not in ids):
                continue
            try:
                work = weigher.weigh(_job(cells, library, record.base, frozenset(record.trusted_nets)))
            except DreamjobsError:  # a guide that is gone, for one
                continue
            counts[work.kind] += 1
            if counts[work.kind] <= _MOST:
                yield Past(work, cells)


def rates_of(pasts: Collection[Past]) -> dict[Kind, Rate]:
    """The rate of each kind, fitted to its jobs."""
    timed: defaultdict[Kind, list[Timed]] = defaultdict(list)
    for past in pasts:
        timed[past.work.kind].append(Timed(past.work.amounts, past.cells["dream_s"]))
    return {kind: _rate(items) for kind, items in timed.items()}


def _rate(timed: Sequence[Timed]) -> Rate:
    """The rate of dreams in a run; the one that took longest beyond it is taken for one that loaded the net."""
    rate = fit(timed)
    beyond = max(item.seconds - rate.seconds(item.amounts) for item in timed)
    return replace(rate, load_s=max(0.0, beyond), in_run=True)


def ends_of(pasts: Collection[Past]) -> Ends:
    """Ends as they were in the run."""
    decode, encode, ratio = _Ratio(), _Ratio(), _Ratio()
    for past in pasts:
        work, cells = past.work, past.cells
        if work.source_kind and work.source_megapixels:
            decode.add(work.source_kind, cells["decode_s"], work.source_megapixels)
        encode.add((work.format, cells["quality"]), cells["encode_s"], work.written_megapixels)
        ratio.add(work.format, cells["size_bytes"], work.written_megapixels * 1e6)
    return Ends(
        fetch_s=float(np.mean([past.cells["fetch_s"] for past in pasts])),
        put_s=float(np.mean([past.cells["put_s"] for past in pasts])),
        decode_s=decode.ratios,
        encode_s=encode.ratios,
        bytes_a_pixel=ratio.ratios,
    )


class _Ratio:
    """Sums of two numbers by key, and their ratios."""

    def __init__(self) -> None:
        self._sums: defaultdict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, key: Any, above: float, below: float) -> None:
        self._sums[key][0] += above
        self._sums[key][1] += below

    @property
    def ratios(self) -> dict[Any, float]:
        return {key: above / below for key, (above, below) in self._sums.items() if below}


def _job(cells: Mapping[str, Any], library: Library, base: str, trusted: frozenset[str]) -> Job:
    """A row as the job that it was, the photograph's version apart."""
    params = make_params({name: cells[name] for name in PARAM_NAMES}, trusted=cells["net"] in trusted)
    image = cells["image"]
    url = image if image.startswith(NO_PHOTOGRAPH) else join_url(base, image.rstrip("/")) + "/" * image.endswith("/")
    source = Source(image, url, width=cells["source_width"], height=cells["source_height"])
    return Job(cells["row"], source, params, cells["weights_digest"], files=library.files(params, base))
