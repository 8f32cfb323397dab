"""The header of WebP, read by hand, because opening one takes the memory of its whole canvas.

Container and bitstreams: RFC 9649.
"""

from dataclasses import dataclass

_HAS_EXIF = 0x08


@dataclass(frozen=True)
class Size:
    """Rows and columns of a picture."""

    height: int
    width: int


def canvas_size(data: bytes) -> Size | None:
    """The size that the header names, before orientation; None if this is no WebP or ends too early."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        return Size(1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little"))
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Size(1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF))
    if chunk == b"VP8 ":
        return Size(int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF)
    return None


def promises_exif(data: bytes) -> bool:
    """Whether the header says that an EXIF chunk is in the file; it comes after the pixels."""
    return data[12:16] == b"VP8X" and bool(data[20] & _HAS_EXIF)


def exif_chunk(data: bytes) -> bytes | None:
    """The EXIF chunk of a WebP; None if there is none in these bytes."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF" and at + 8 + length <= len(data):
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return None
