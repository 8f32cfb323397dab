"""Taking a lease, beating while it is held, and giving it back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from dreamjobs.errors import DreamjobsError, InputError, RunError
from dreamjobs.lease.generations import Generations, Holder, released
from dreamjobs.lease.owners import Owner, Surroundings
from dreamjobs.storage import Store

_BEATS_MISSED = 3  # fewer is a slow store, not a dead driver
_LOOKS = 30  # at the beat, while a holder is watched


class Lease:
    """A lease that this process holds; made by `acquire`, given back by `release` or at the end of `with`.

    `lost` is set within a beat of another driver having taken over: hand out no more work then.
    """

    def __init__(self, generations: Generations, number: int, beat_s: float) -> None:
        self.lost = threading.Event()
        self.generation = number
        self._generations = generations
        self._beat_s = beat_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {generations.name}", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Stop beating and let the next driver in at once; a second call does nothing.

        A store that fails here is no error: the next driver only waits until this one counts as dead.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        if not self.lost.is_set():
            with suppress(DreamjobsError):
                self._generations.put_beat(self.generation, -1, released=True)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat(self) -> None:
        count = 0
        while not self.lost.is_set():
            # A store that does not answer for a while is asked again at the next beat: whether the lease was
            # lost meanwhile, only the store can say.
            with suppress(DreamjobsError):
                self._generations.put_beat(self.generation, count)
                if self._generations.latest() > self.generation:
                    self.lost.set()
            count += 1
            if self._stop.wait(self._beat_s):
                return


def acquire(
    store: Store,
    name: str,
    *,
    owner: Owner | None = None,
    ttl_s: float = 30,
    beat_s: float = 5,
    on_wait: Callable[[str], None] | None = None,
    surroundings: Surroundings | None = None,
) -> Lease:
    """Return the lease of `name` in `store`, held and beating every `beat_s` seconds.

    A holder on another machine is watched for up to `ttl_s` seconds (longer if it beats slowly), which `on_wait`
    is told. Raises `RunError` naming the holder if it is alive, and `InputError` unless 0 < `beat_s` < `ttl_s`.
    """
    if not 0 < beat_s < ttl_s:
        raise InputError(f"a lease with beat_s={beat_s} and ttl_s={ttl_s} is not allowed: use 0 < beat_s < ttl_s")
    generations = Generations(store, name)
    challenger = _Challenger(
        generations, owner or Owner.here(), ttl_s, on_wait or _tell_nobody, surroundings or Surroundings()
    )
    while True:
        latest = generations.latest()
        if latest:
            challenger.outlive(latest)
        if generations.take(latest + 1, challenger.owner, beat_s):
            with suppress(DreamjobsError):  # what stays is removed by the next holder
                generations.clean_up(below=latest + 1)
            return Lease(generations, latest + 1, beat_s)


@dataclass(frozen=True)
class _Challenger:
    """Who wants a lease, and how it finds out whether the holder is dead."""

    generations: Generations
    owner: Owner
    ttl_s: float
    on_wait: Callable[[str], None]
    around: Surroundings

    def outlive(self, number: int) -> None:
        """Return once a generation's holder is dead or followed by another; `RunError` if it is alive."""
        beat = self.generations.beat(number)
        holder = self.generations.holder(number)
        if released(beat) or holder is None:
            return
        if not self.owner.shares_machine(holder.owner):
            self._watch(number, holder, beat)
        elif self.around.process_start(holder.owner.pid) == holder.owner.process_start:
            raise self._alive(holder)

    def _watch(self, number: int, holder: Holder, beat: bytes | None) -> None:
        patience_s = max(self.ttl_s, _BEATS_MISSED * holder.beat_s)
        name = self.generations.name
        self.on_wait(f"{name} is held by {holder}; looking for up to {patience_s:.0f} s whether it is alive")
        end_s = self.around.clock_s() + patience_s
        while self.around.clock_s() < end_s:
            self.around.sleep(patience_s / _LOOKS)
            now = self.generations.beat(number)
            if released(now) or (beat and not now):
                return
            if now != beat:
                raise self._alive(holder)

    def _alive(self, holder: Holder) -> RunError:
        name = self.generations.name
        return RunError(f"{name} is already being run by {holder}; wait for it, or stop it and run again")


def _tell_nobody(message: str) -> None:
    """Ignore `message`."""
