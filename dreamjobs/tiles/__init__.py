"""Geometry of tiles: how a picture is cut, and what each part sees of it."""

from dreamjobs.tiles.boxes import Box, Span, around, cover, spans
from dreamjobs.tiles.cutting import (
    Axis,
    Field,
    Layer,
    Tile,
    affordable_overlap,
    alignment,
    cut,
    exact_parts,
    in_whole,
    uncut,
)

__all__ = [
    "Axis",
    "Box",
    "Field",
    "Layer",
    "Span",
    "Tile",
    "affordable_overlap",
    "alignment",
    "around",
    "cover",
    "cut",
    "exact_parts",
    "in_whole",
    "spans",
    "uncut",
]
