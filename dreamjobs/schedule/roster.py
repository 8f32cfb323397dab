"""The actors: who starts, who is idle, who is at what, who is to go, and how many there should be."""

from collections import Counter, deque
from itertools import count

from dreamjobs.schedule.events import Action, StartActor, StopActor
from dreamjobs.schedule.queues import Errand


class Roster:
    """Knows each actor by its number; a number that was stopped is never given again.

    What is told of a number that is not here is passed over: it was on its way when the actor was stopped.
    """

    def __init__(self, starts: int) -> None:
        """`starts` are how often in a row an actor may die as it starts."""
        self._most_starts = starts
        self._numbers = count()
        self._starting: dict[int, int] = {}  # actor -> how often its start failed in a row
        self._up: set[int] = set()
        self._idle: deque[int] = deque()
        self._at: dict[Errand, int] = {}  # what is being done -> by whom
        self._load: Counter[int] = Counter()  # actor -> how many errands it is at
        self._leaving: set[int] = set()  # up and at work, but to take nothing new
        self._left: list[int] = []  # to be stopped
        self._abandoned = 0
        self.restarts = 0

    @property
    def up(self) -> int:
        """How many can work or do."""
        return len(self._up)

    @property
    def staying(self) -> int:
        """How many of those are not to go."""
        return len(self._up) - len(self._leaving)

    @property
    def count(self) -> int:
        """How many there are or will be; those given up count, lest they be started again."""
        return len(self._starting) + len(self._up) - len(self._leaving) + self._abandoned

    @property
    def has_idle(self) -> bool:
        """Whether one of them has nothing to do."""
        return bool(self._idle)

    @property
    def is_lost(self) -> bool:
        """Whether nobody is there, and those that were to come never came up."""
        return self._abandoned > 0 and not self._up and not self._starting

    @property
    def busy(self) -> int:
        """How many are at work."""
        return len(self._load)

    def give(self, *errands: Errand) -> int:
        """The idle actor that is at these errands from now on."""
        actor = self._idle.popleft()
        self._at |= dict.fromkeys(errands, actor)
        self._load[actor] = len(errands)
        return actor

    def ended(self, errand: Errand) -> None:
        """An errand is over; an actor that was at nothing else is idle, or goes if it was to."""
        if errand not in self._at:
            return
        actor = self._at.pop(errand)
        self._load[actor] -= 1
        if self._load[actor]:
            return
        del self._load[actor]
        if actor in self._leaving:
            self._leave(actor)
        else:
            self._idle.append(actor)

    def interrupted(self, actor: int) -> list[Errand]:
        """What an actor that died was at, which nobody is at any more."""
        errands = [errand for errand, at in self._at.items() if at == actor]
        for errand in errands:
            del self._at[errand]
        self._load.pop(actor, None)
        return errands

    def ready(self, actor: int) -> None:
        """An actor has come up."""
        if self._starting.pop(actor, None) is not None:
            self._up.add(actor)
            self._idle.append(actor)

    def leave(self, actor: int) -> None:
        """An actor is to go, once it has done what it is at."""
        if actor in self._idle:
            self._leave(actor)
        elif actor in self._up:
            self._leaving.add(actor)

    def lost(self, actor: int) -> list[Action]:
        """An actor died: it is started again, unless it was to go or its starts keep failing."""
        if actor not in self._up and actor not in self._starting:
            return []
        failed = 0 if actor in self._up else self._starting.pop(actor) + 1
        if actor in self._leaving:
            self._leave(actor)
            return []
        self._remove(actor)
        if failed >= self._most_starts:
            self._abandoned += 1
            return []
        self._starting[actor] = failed
        self.restarts += 1
        return [StartActor(actor)]

    def fit(self, wanted: int) -> list[Action]:
        """Stop who left, and start actors, or start fewer, until there are as many as wanted; nobody who is up goes."""
        actions: list[Action] = [StopActor(actor) for actor in self._left]
        self._left.clear()
        new = [next(self._numbers) for _ in range(wanted - self.count)]
        self._starting |= dict.fromkeys(new, 0)
        return [*actions, *(StartActor(actor) for actor in new), *self._stop_starting(self.count - wanted)]

    def give_back(self, wanted: int) -> list[Action]:
        """Stop idle actors beyond as many as are wanted."""
        actions: list[Action] = []
        while self._idle and self.count > wanted:
            actor = self._idle.pop()
            self._remove(actor)
            actions.append(StopActor(actor))
        return actions

    def _stop_starting(self, surplus: int) -> list[Action]:
        last = list(reversed(self._starting))[: max(0, surplus)]
        for actor in last:
            del self._starting[actor]
        return [StopActor(actor) for actor in last]

    def _leave(self, actor: int) -> None:
        self._remove(actor)
        self._left.append(actor)
        if not self._up:
            self._abandoned = 0  # without them nobody might be left

    def _remove(self, actor: int) -> None:
        self._up.discard(actor)
        self._leaving.discard(actor)
        if actor in self._idle:
            self._idle.remove(actor)
