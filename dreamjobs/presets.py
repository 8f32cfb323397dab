"""The defaults of known dream programs, by name, in this program's parameters.

Lengths are as published; pixel values there were 0 to 255, normalised or -1 to 1, here they are [0, 1]. Octaves there
count down from the photograph or up from the smallest; here `octaves` counts sizes. What has no counterpart (a fixed
working width, gradients scaled by a tile) is left out. Sources: google/deepdream's dream.ipynb (2015); Gordić's
pytorch-deepdream (2020); ProGamerGov's neural-dream (2020); TensorFlow's DeepDream tutorial; Hvass Pedersen's tutorial
14 (2016).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_PRESETS: dict[str, dict[str, Any]] = {
    "google2015": {
        "net": "googlenet",
        "objective": "inception4c",
        "steps": 10,
        "step_size": 1.5 / 255,
        "octaves": 4,
        "octave_scale": 1.4,
        "jitter": 32,
        "normalize": "mean_abs",
        "rescale": "detail",
    },
    "pytorch-deepdream": {
        "net": "vgg16",
        "objective": "features.22",  # relu4_3
        "steps": 10,
        "step_size": 0.09 * 0.226,  # in normalised pixels there; 0.226 is the mean of ImageNet's deviations
        "octaves": 4,
        "octave_scale": 1.8,
        "jitter": 32,
        "normalize": "std",
        "smoothing": 0.5,
        "smoothing_growth": 2.0,
        "rescale": "picture",
    },
    "neural-dream": {
        "net": "googlenet",
        "objective": "inception4d.branch2.0",  # inception_4d_3x3_reduce
        "steps": 50,
        "step_size": 1.5 / 255,
        "octaves": 2,
        "octave_scale": 1 / 0.6,
        "jitter": 32,
        "optimizer": "adam",
        "rescale": "picture",
    },
    "tf-tutorial": {
        "net": "inception_v3",
        "objective": "mean(Mixed_6a) + mean(Mixed_6c)",  # Keras' mixed3 and mixed5, which count from mixed0 = Mixed_5b
        "steps": 50,
        "step_size": 0.01 / 2,
        "octaves": 5,
        "octave_scale": 1.3,
        "jitter": 512,
        "normalize": "std",
        "rescale": "picture",
    },
    "hvass": {
        "net": "googlenet",
        "objective": "inception4a",
        "steps": 10,
        "step_size": 3.0 / 255,
        "octaves": 5,
        "octave_scale": 1 / 0.7,
        "jitter": 0,
        "normalize": "std",
        "smoothing": 0.5,
        "smoothing_growth": 4.0,
        "blend": 0.2,
        "rescale": "picture",
    },
}
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(_PRESETS)
