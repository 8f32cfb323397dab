"""Rows of results as a run writes them, made up, and sites of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamjobs import results
from dreamjobs.gallery import write_gallery
from dreamjobs.params import DreamParams
from dreamjobs.storage import open_store

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def row(number: int = 0, image: str = "photos/cat.jpg", **cells: Any) -> dict[str, Any]:
    """A done row; `cells` replace parameters and columns."""
    made: dict[str, Any] = dict.fromkeys(results.SCHEMA.names)
    params = {name: value for name, value in DreamParams().model_dump().items() if name in made}
    made |= params | {
        "id": f"{number:032x}",
        "row": 1,
        "image": image,
        "status": "done",
        "output": f"images/{number:08d}.jpg",
        "attempts": 1,
        "width": 640,
        "height": 480,
        "source_width": 640,
        "source_height": 480,
        "size_bytes": 50_000,
        "sha256": f"{number:064x}",
        "weights_digest": "0" * 64,
        "algorithm": 1,
        "objective_start": 1.0,
        "objective_end": 2.0 + number % 97,
        "objective_curve": [1.0, 2.0],
        "fetch_s": 0.1,
        "decode_s": 0.1,
        "dream_s": 1.0 + number % 13,
        "encode_s": 0.1,
        "put_s": 0.1,
        "device": "cpu",
        "finished": NOON + timedelta(seconds=number),
    }
    return made | cells


def failed(number: int, image: str, error: str, kind: str = "ImageError", **cells: Any) -> dict[str, Any]:
    """A failed row."""
    nothing = dict.fromkeys(("output", "sha256", "width", "height", "objective_curve"))
    return row(number, image, status="failed", error_type=kind, error=error, **nothing) | cells


def put_rows(url: str, rows: list[dict[str, Any]]) -> None:
    """A part of the results of a run."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=results.SCHEMA), out)
    open_store(url).put("results/part.parquet", out.getvalue())


def site(url: str, rows: list[dict[str, Any]]) -> str:
    """The path of the page of these rows."""
    put_rows(url, rows)
    return write_gallery(open_store(url))
