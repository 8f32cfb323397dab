"""The octave loop and what belongs to it: starts, random moves, the gradient by tiles."""

from dreamjobs.octaves.gradient import Goal, Gradient
from dreamjobs.octaves.loop import Dream, check, dream, prepare

__all__ = ["Dream", "Goal", "Gradient", "check", "dream", "prepare"]
