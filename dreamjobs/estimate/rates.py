"""Rates: what a dream takes for each of its amounts, fitted to dreams that were timed, and kept in a file.

A time is coefficients times amounts, none below 0. The fit is least squares over relative errors, so that small dreams
count as much as large ones; of equally good ones that with fewer coefficients is taken, megapixels before passes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamjobs.estimate.work import Amounts

Matrix = NDArray[np.float64]
_SUBSETS = [(2,), (1, 2), (0, 2), (0, 1, 2), (1,), (0, 1), (0,)]  # of the amounts' order: megapixels first
_BETTER = 0.98  # a fit with more coefficients must have less error than this share of the best so far
_OUTLIER = 3.0
_VERSION = 1


@dataclass(frozen=True)
class Rate:
    """Seconds a picture, a pass, a megapixel seen, and a megapixel of a sequence's pictures on the way.

    `load_s` is what an actor's first dream takes longer, the net being loaded and traced; `ready_s` what a process
    needs until it can dream. `in_run` says that dreams of a run were timed, other stages beside them.
    """

    picture_s: float
    pass_s: float
    megapixel_s: float
    frame_megapixel_s: float = 0.0
    load_s: float = 0.0
    ready_s: float = 0.0
    in_run: bool = False

    @property
    def row(self) -> tuple[float, float, float, float]:
        """The coefficients in the order of `Amounts.row`."""
        return self.picture_s, self.pass_s, self.megapixel_s, self.frame_megapixel_s

    def times(self, factor: float) -> "Rate":
        """The rate with every coefficient times a factor."""
        return replace(
            self,
            picture_s=self.picture_s * factor,
            pass_s=self.pass_s * factor,
            megapixel_s=self.megapixel_s * factor,
            frame_megapixel_s=self.frame_megapixel_s * factor,
        )

    def seconds(self, amounts: Amounts) -> float:
        """What a dream takes."""
        return float(np.dot(self.row, amounts.row))


@dataclass(frozen=True)
class Timed:
    """A dream that was timed."""

    amounts: Amounts
    seconds: float


def fit(timed: Sequence[Timed]) -> Rate:
    """The rate behind some dreams, by which they take as long together as they did.

    Those that took 3 times what the others tell, such as an actor's first, do not count, and those that were slowed
    down by something else do: a run will be too. Frames on the way are not told apart. There must be one dream.
    """
    rows = np.array([item.amounts.row[:3] for item in timed], np.float64)
    seconds = np.array([max(item.seconds, 1e-9) for item in timed], np.float64)
    found = _solve(rows, seconds)
    kept = seconds < _OUTLIER * (rows @ found)
    if kept.any():
        rows, seconds = rows[kept], seconds[kept]
        found = _solve(rows, seconds)
        found *= seconds.sum() / max(float((rows @ found).sum()), 1e-9)
    return Rate(float(found[0]), float(found[1]), float(found[2]))


def _solve(rows: Matrix, seconds: Matrix) -> Matrix:
    scaled = rows / seconds[:, None]
    best, least = np.zeros(3), np.inf
    for subset in _SUBSETS:
        chosen = scaled[:, subset]
        values = np.linalg.lstsq(chosen, np.ones(len(seconds)), rcond=None)[0]
        error = float(np.square(chosen @ values - 1).mean())
        if (values >= 0).all() and error < _BETTER * least - 1e-12:
            best, least = np.zeros(3), error
            best[list(subset)] = values
    return best


class RateFile:
    """Rates by key in `rates.json` in the person's cache folder. A file that cannot be read is as none."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path or cache_path()

    def load(self) -> dict[str, Rate]:
        """Every rate there is."""
        try:
            with open(self._path, encoding="utf-8") as file:
                held = json.load(file)
            return {key: Rate(**values) for key, values in held["rates"].items()} if _is_ours(held) else {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def add(self, rates: Mapping[str, Rate]) -> None:
        """Keep these too, whole or not at all. A folder that cannot be written to is no error."""
        held = {"version": _VERSION, "rates": {key: asdict(rate) for key, rate in (self.load() | dict(rates)).items()}}
        beside = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(beside, "w", encoding="utf-8") as file:
                json.dump(held, file, indent=1, sort_keys=True)
            os.replace(beside, self._path)
        except OSError:
            return


def cache_path() -> str:
    """`$XDG_CACHE_HOME/dreamjobs/rates.json`, the folder being `~/.cache` where the variable is not set."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(folder, "dreamjobs", "rates.json")


def _is_ours(held: Any) -> bool:
    return isinstance(held, dict) and held.get("version") == _VERSION
