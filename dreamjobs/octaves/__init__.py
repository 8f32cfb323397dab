"""The octave loop and what belongs to it: starts, random moves, the gradient by tiles."""

from dreamjobs.octaves.gradient import Goal, Gradient
from dreamjobs.octaves.loop import Dream, check, dream, prepare
from dreamjobs.octaves.start import octave_sizes

__all__ = ["Dream", "Goal", "Gradient", "check", "dream", "octave_sizes", "prepare"]
