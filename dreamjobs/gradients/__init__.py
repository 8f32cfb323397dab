"""What becomes of a gradient before it is a step: smoothing, one normalisation, momentum, the size of the step.

`shaping` brings a gradient to about unit strength, `optimizers` turns the gradients of an octave's steps into changes.
Gradients are (N, 3, h, w) float32, of any scale in and of about unit strength out.
"""

from dreamjobs.gradients.optimizers import Optimizer, stalled, step_factor
from dreamjobs.gradients.shaping import laplacian, normalize, shape, sigma_at, smooth

__all__ = ["Optimizer", "laplacian", "normalize", "shape", "sigma_at", "smooth", "stalled", "step_factor"]
