"""A run as JSON, an object a line on standard error, for programs that collect logs. Levels and files are logging's.

Each object has `time` (UTC), `level`, `event` and `run`; a job's events have `job`, `image`, `row` and `attempt` too.
What other packages log or warn of comes as the event `log`.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer

from dreamjobs.engine import Outlook, Progress, Watcher
from dreamjobs.errors import DreamjobsError
from dreamjobs.jobs import Failure, Job, Summary
from dreamjobs.schedule import Finish, Retry

_LINE_S = 30.0
_LOG = logging.getLogger("dreamjobs")


class JsonLog:
    """Writes what a run tells, and its start and end."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_S
        self.watcher = Watcher(
            on_outlook=_outlook,
            on_progress=self._progress,
            on_note=lambda note: _write(logging.WARNING, "note", message=note),
            on_finish=_finish,
            on_retry=lambda retry: _failure(logging.WARNING, "retried", retry, retry.failure),
        )

    def start(self, **asked: Any) -> None:
        """What was asked for."""
        _write(logging.INFO, "start", **asked)

    def end(self, summary: Summary) -> None:
        """What came of it."""
        _write(logging.INFO, "end", **asdict(summary))

    def _progress(self, now: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_S
            _write(logging.INFO, "progress", **asdict(now))


@contextmanager
def json_log(run: str) -> Iterator[JsonLog]:
    """The log of a run; while it is open, whatever is logged or warned of in this process is written as JSON too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(run))
    root = logging.getLogger()
    root.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield JsonLog()
    except DreamjobsError as error:
        _write(logging.ERROR, "error", error_type=type(error).__name__, error=str(error))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        _write(logging.WARNING, "stopped")
        raise typer.Exit(130) from None
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)


class _Formatter(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": when, "level": record.levelname.lower(), "event": "log", "run": self._run}
        if record.name == _LOG.name:
            line |= {"event": record.msg, **record.__dict__["fields"]}
        else:
            line |= {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # a setting may be whatever YAML has, as a date


def _write(level: int, event: str, **fields: Any) -> None:
    _LOG.log(level, event, extra={"fields": fields})


def _outlook(outlook: Outlook) -> None:
    before = {"done_before": outlook.done, "failed_before": outlook.failed}
    _write(logging.INFO, "outlook", todo=outlook.todo, reasons=outlook.reasons, beyond=outlook.beyond, **before)


def _finish(finish: Finish) -> None:
    made = finish.artifact
    if finish.failure:
        _failure(logging.ERROR, "failed", finish, finish.failure)
    elif made:
        fields = {"output": made.key, "size_bytes": made.size_bytes, "width": made.width, "height": made.height}
        where = {"stage_seconds": asdict(made.seconds), "device": made.device, "actor": made.actor}
        _write(logging.INFO, "done", **_job(finish.job, finish.attempts), **fields, **where)


def _failure(level: int, event: str, ended: Finish | Retry, failure: Failure) -> None:
    _write(level, event, **_job(ended.job, ended.attempts), error_type=failure.type, error=failure.message)


def _job(job: Job, attempt: int) -> dict[str, Any]:
    return {"job": job.id, "image": job.source.image, "row": job.row, "attempt": attempt}
