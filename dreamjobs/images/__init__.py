"""Bytes <-> pictures: the one owner of Pillow, EXIF, ICC profiles, alpha and bit depth.

In: JPEG (MPO too), PNG, WebP, TIFF, AVIF, BMP, GIF (its first frame) and HEIC. Out: these, less BMP and GIF.
Between them a picture is a `Photo`: float32 RGB in [0, 1], sRGB, (h, w, 3), upright; or `Samples`, the same with the
bits that the file has.

PNG and TIFF are read with all their bits (16-bit colour in a profile other than sRGB, though, with 8; so are
AVIF and HEIC). What is written has 8 bits a channel: a dream moves every pixel by far more than 1/255.

Pictures that are too large to be held as floats are a `Source`, read by window (`Samples` from memory, `Tiled` from
where the file lies), and `Strips`, written as they come: into a pyramid if that is a TIFF.

Apart from `tiled` it does not fetch or store (`storage`), and it knows nothing of tensors.

Read in this order: `values`, `photo`, `opening`, `header`, `exif`, `colour`, `deep`, `source`, `decoding`, `tiled`,
`strips`, `encoding`, `directories`, `pyramid`.
"""

from dreamjobs.images.decoding import DEFAULT_MAX_PIXELS, decode, decode_samples
from dreamjobs.images.encoding import (
    Encoding,
    check_size,
    encode,
    extension,
    format_of_name,
    output_format,
    read_recipe,
)
from dreamjobs.images.header import Size, probe
from dreamjobs.images.photo import EXTENSIONS, Photo, fit, is_picture
from dreamjobs.images.pyramid import write_pyramid
from dreamjobs.images.resizing import CUBIC, window_at
from dreamjobs.images.source import Samples, Source, reduced
from dreamjobs.images.strips import Strips, rounded, strips_of
from dreamjobs.images.tiled import Tiled, open_tiled
from dreamjobs.images.values import Floats, SampleArray, unit
from dreamjobs.images.video import read_video, write_video

__all__ = [
    "CUBIC",
    "DEFAULT_MAX_PIXELS",
    "EXTENSIONS",
    "Encoding",
    "Floats",
    "Photo",
    "SampleArray",
    "Samples",
    "Size",
    "Source",
    "Strips",
    "Tiled",
    "check_size",
    "decode",
    "decode_samples",
    "encode",
    "extension",
    "fit",
    "format_of_name",
    "is_picture",
    "open_tiled",
    "output_format",
    "probe",
    "read_recipe",
    "read_video",
    "reduced",
    "rounded",
    "strips_of",
    "unit",
    "window_at",
    "write_pyramid",
    "write_video",
]
