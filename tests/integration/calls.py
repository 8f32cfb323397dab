"""What tests have Ray tasks do: functions to be called, and a store that notes who wrote to it."""

from __future__ import annotations

import os

from dreamjobs.storage import LocalStore


def half(number: int) -> float:
    """A number's half."""
    return number / 2


def die_sometimes(folder: str, number: int) -> str:
    """Ends its process for 3 always, for 5 the first time; a file for each number grows by a byte a call."""
    path = os.path.join(folder, str(number))
    with open(path, "a") as file:
        file.write("x")
    if number == 3 or (number == 5 and os.path.getsize(path) == 1):
        os._exit(1)
    return "made"


def refuse(number: int) -> None:
    """Raises ValueError."""
    raise ValueError(f"{number} is refused")


class Signed(LocalStore):
    """Beside each thumbnail it keeps which process put it."""

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        if "/thumbs/" in key:
            super().put(f"pids/{os.path.basename(key)}", str(os.getpid()).encode())
