"""The octave loop and what belongs to it: starts, random moves, the gradient by tiles."""

from dreamjobs.octaves.course import Progress
from dreamjobs.octaves.gradient import Goal
from dreamjobs.octaves.loop import Dream, check, dream, prepare
from dreamjobs.octaves.tiled import Gradient

__all__ = ["Dream", "Goal", "Gradient", "Progress", "check", "dream", "prepare"]
