"""Any colours -> sRGB at 8 bits, by the embedded ICC profile where it is sound (ICC.1, Little CMS)."""

import io
from typing import Any

import numpy as np
from PIL import Image

from dreamjobs.images.opening import DAMAGE

# The colour space that a profile describes -> the mode in which Pillow hands it pixels.
_MODE_OF_SPACE = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture (mode L, RGB, CMYK or LAB) as sRGB in mode RGB; an unsound profile is ignored."""
    transform = _transform(image.mode, profile)
    if transform is None:
        return image.convert("RGB")
    try:
        return transform.apply(image.convert(transform.input_mode))  # type: ignore[no-any-return]  # Pillow leaves it so
    except DAMAGE:
        return image.convert("RGB")


def is_srgb(mode: str, profile: bytes | None) -> bool:
    """Whether pixels of this mode need no conversion: no sound profile, or one of sRGB itself."""
    return _transform(mode, profile) is None


def _transform(mode: str, profile: bytes | None) -> Any:
    """An ImageCmsTransform to sRGB, or None where there is nothing to convert."""
    from PIL import ImageCms

    if mode == "LAB":
        return _built(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, *DAMAGE):
        return None
    profile_mode = _MODE_OF_SPACE.get(source.profile.xcolor_space.strip())
    # Grey pixels with an RGB profile are R = G = B; other mismatches mean that the profile belongs elsewhere.
    if profile_mode != mode and (mode, profile_mode) != ("L", "RGB"):
        return None
    transform = _built(source, str(profile_mode))
    return None if transform is None or _changes_nothing(transform) else transform


def _built(source: Any, mode: str) -> Any:
    """Relative colorimetric with black point compensation, as editors do; None if Little CMS refuses."""
    from PIL import ImageCms

    try:
        return ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, *DAMAGE):
        return None


def _changes_nothing(transform: Any) -> bool:
    """Whether the profile is sRGB: 17^3 colours stay within 1/255. Then pixels keep their exact values."""
    if transform.input_mode != "RGB":
        return False
    levels = np.linspace(0, 255, 17).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(17, -1, 3)
    moved = np.asarray(transform.apply(Image.fromarray(cube)))
    return bool(np.abs(moved.astype(np.int16) - cube).max() <= 1)
