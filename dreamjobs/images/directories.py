"""EXIF in a TIFF of 64-bit offsets: a block's directories, entry by entry, in the other format's layout.

A block is a small TIFF of its own: a first directory, and from it the camera's (lens, exposure) and the place's. What
is in the first goes into the picture's first; the others are appended to the finished file. What is written is little
endian, since Pillow 13 takes no other BigTIFF; numbers in a block that is not are turned, but for those in maker notes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

_HEADER = b"Exif\0\0"
_X, _Y, _UNIT, _POINTERS = 0x011A, 0x011B, 0x0128, (0x8769, 0x8825)
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_RATIONALS = (5, 10)  # two numbers each
_LONG8 = 16
_OFFSET_BYTES, _ENTRY_BYTES = 8, 20


@dataclass(frozen=True)
class _Entry:
    """A tag, its type and number of values, and these, little endian."""

    tag: int
    type: int
    count: int
    data: bytes


def first(exif: bytes) -> dict[str, Any]:
    """The first directory as arguments of `TiffWriter.write`; in place of its pointers are others, to be set later."""
    found = {entry.tag: entry for entry in _first(exif)}
    resolution = [found.pop(tag, None) for tag in (_X, _Y, _UNIT)]
    tags: list[Any] = []
    for entry in found.values():
        if entry.tag in _POINTERS:  # tifffile leaves these out, so they go by another number until they are set
            tags.append((entry.tag - 1, _LONG8, 1, 0, True))
        else:
            tags.append((entry.tag, entry.type, entry.count, entry.data, True))
    return {"extratags": tags, **_resolution(resolution)}


def append(exif: bytes, path: str) -> None:
    """Write the other directories of a block behind the picture in `path`, and set the pointers to them."""
    places = _places(path)
    with open(path, "r+b") as file:
        for entry in _first(exif):
            if entry.tag in _POINTERS:
                (offset,) = struct.unpack("<I", entry.data)
                at = _written(file, list(_entries(exif, offset)))
                file.seek(places[entry.tag - 1])
                file.write(struct.pack("<HHQQ", entry.tag, _LONG8, 1, at))


def _first(exif: bytes) -> list[_Entry]:
    block = exif.removeprefix(_HEADER)
    (offset,) = struct.unpack_from(_order(block) + "I", block, 4)
    return list(_entries(exif, offset))


def _order(block: bytes) -> str:
    return ">" if block[:2] == b"MM" else "<"


def _entries(exif: bytes, offset: int) -> Iterator[_Entry]:
    """The entries of a directory; what is of no known type is left out."""
    block = exif.removeprefix(_HEADER)
    order = _order(block)
    (number,) = struct.unpack_from(order + "H", block, offset)
    for at in range(offset + 2, offset + 2 + 12 * number, 12):
        tag, kind, count, place = struct.unpack_from(order + "HHII", block, at)
        if kind in _TYPE_BYTES:
            length = _TYPE_BYTES[kind] * count
            start = at + 8 if length <= 4 else place
            item = 4 if kind in _RATIONALS else _TYPE_BYTES[kind]
            numbers = np.frombuffer(block[start : start + length], f"{order}u{item}")
            yield _Entry(tag, kind, count, numbers.astype(f"<u{item}").tobytes())


def _resolution(entries: list[_Entry | None]) -> dict[str, Any]:
    across, down, unit = entries
    if across is None or down is None or unit is None:
        return {}
    x, y = struct.unpack("<II", across.data), struct.unpack("<II", down.data)
    return {"resolution": (x, y), "resolutionunit": struct.unpack("<H", unit.data)[0]}


def _places(path: str) -> dict[int, int]:
    """Where the entries of the first directory stand, by tag."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        return {tag.code: tag.offset for tag in tiff.pages.first.tags}


def _written(file: BinaryIO, entries: list[_Entry]) -> int:
    """Where the directory begins that was appended; its values follow it."""
    start = -(-file.seek(0, 2) // _OFFSET_BYTES) * _OFFSET_BYTES
    at = start + 8 + _ENTRY_BYTES * len(entries) + _OFFSET_BYTES
    head, values = [struct.pack("<Q", len(entries))], b""
    for entry in entries:
        inline = len(entry.data) <= _OFFSET_BYTES
        value = entry.data.ljust(8, b"\0") if inline else struct.pack("<Q", at + len(values))
        head.append(struct.pack("<HHQ", entry.tag, entry.type, entry.count) + value)
        values += b"" if inline else entry.data.ljust(-(-len(entry.data) // 8) * 8, b"\0")
    file.seek(start)
    file.write(b"".join(head) + struct.pack("<Q", 0) + values)
    return start
