"""A row of the results: its columns and their types, and an outcome as one."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dreamjobs.jobs import Outcome
from dreamjobs.manifest import param_type
from dreamjobs.params import PARAM_NAMES

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.int64()),
        ("image", pa.string()),
        ("status", pa.string()),
        ("output", pa.string()),
        ("attempts", pa.int32()),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("traceback", pa.string()),
        ("source_version", pa.string()),
        ("source_size_bytes", pa.int64()),
        ("source_width", pa.int32()),
        ("source_height", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("weights_digest", pa.string()),
        ("algorithm", pa.int32()),
        ("look", pa.string()),
        ("objective_start", pa.float64()),
        ("objective_end", pa.float64()),
        ("objective_curve", pa.list_(pa.float32())),
        ("fetch_s", pa.float64()),
        ("decode_s", pa.float64()),
        ("dream_s", pa.float64()),
        ("encode_s", pa.float64()),
        ("put_s", pa.float64()),
        ("device", pa.string()),
        ("node", pa.string()),
        ("actor", pa.string()),
        ("overlap_error", pa.float64()),
        ("finished", pa.timestamp("us", tz="UTC")),
        ("versions", pa.map_(pa.string(), pa.string())),
        *((name, param_type(name)) for name in PARAM_NAMES),
    ]
)


def to_row(outcome: Outcome, algorithm: int, versions: dict[str, str]) -> dict[str, Any]:
    """An outcome as a row of the dataset, `meta_*` columns included."""
    job, failure = outcome.job, outcome.failure
    row: dict[str, Any] = {
        "id": job.id,
        "row": job.row,
        "image": job.source.image,
        "status": outcome.status,
        "attempts": outcome.attempts,
        "error_type": failure.type if failure else None,
        "error": failure.message if failure else None,
        "traceback": failure.traceback or None if failure else None,
        "source_version": job.source.version,
        "source_size_bytes": job.source.size_bytes,
        "weights_digest": job.weights_digest,
        "algorithm": algorithm,
        "look": job.look,
        "finished": outcome.finished,
        "versions": list(versions.items()),
    }
    params = {name: _param(name, value) for name, value in job.params.model_dump().items()}
    return row | _artifact_cells(outcome) | params | job.meta


def _param(name: str, value: Any) -> Any:
    return str(value) if value is not None and pa.types.is_string(param_type(name)) else value


def _artifact_cells(outcome: Outcome) -> dict[str, Any]:
    artifact = outcome.artifact
    if artifact is None:
        return {}
    seconds, curve = artifact.seconds, artifact.objective
    return {
        "output": artifact.key,
        "source_width": artifact.source_width,
        "source_height": artifact.source_height,
        "width": artifact.width,
        "height": artifact.height,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "objective_start": curve[0] if curve else None,
        "objective_end": curve[-1] if curve else None,
        "objective_curve": list(curve),
        "fetch_s": seconds.fetch,
        "decode_s": seconds.decode,
        "dream_s": seconds.dream,
        "encode_s": seconds.encode,
        "put_s": seconds.put,
        "device": artifact.device,
        "node": artifact.node,
        "actor": artifact.actor,
        "overlap_error": artifact.overlap_error,
    }


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
