"""SQL over a run's current results, by DuckDB; and the results as plain cells for a table, CSV or JSON.

The one table is `results`, a row a job, read by dreamjobs' own store. The engine is in memory and locked before it sees
a statement: it reads and writes no file, opens no connection, loads no extension and takes no other setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dreamjobs import ledger, results
from dreamjobs.errors import InputError
from dreamjobs.storage import Store

TABLE = "results"
_CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # or SQL could name Python's variables
    "temp_directory": "",
}
_TOLD = 4


@dataclass(frozen=True)
class Answer:
    """Columns by name and rows of plain cells: numbers, text, true, false, None, and lists and mappings of these."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Column:
    """What a column of the results holds: how many cells are not empty, and their values, the ends of many."""

    name: str
    type: str
    filled: int
    values: str
    same: bool = False


def read(run: Store) -> pa.Table:
    """The current row of each job; NotFoundError if nothing was ever run there."""
    ledger.load_record(run)
    return results.read(run)


def ask(table: pa.Table, sql: str) -> Answer:
    """What one or more SQL statements, run over `table` as `results`, answer last.

    Raises:
        InputError: for SQL that DuckDB does not take, with what it says; if DuckDB is not installed, how to do that.
    """
    duckdb = _duckdb()
    connection = duckdb.connect(":memory:", config=_CONFIG)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register(TABLE, table)
        connection.execute("SET lock_configuration = true")
        found = connection.sql(sql)
        return as_answer(found.to_arrow_table()) if found is not None else Answer((), ())
    except duckdb.Error as error:
        raise InputError(f"--sql: {error}") from None
    finally:
        connection.close()


def as_answer(table: pa.Table) -> Answer:
    """A table as plain cells."""
    columns = [[_plain(cell) for cell in column.to_pylist()] for column in table.columns]
    return Answer(tuple(table.column_names), tuple(zip(*columns, strict=True)))


def describe(table: pa.Table) -> list[Column]:
    """The columns in which there is anything; `same` are those of one value in all rows."""
    found = (_column(name, table[name]) for name in table.column_names)
    return [column for column in found if column.filled]


def _column(name: str, cells: pa.ChunkedArray) -> Column:
    filled = len(cells) - cells.null_count
    if pa.types.is_nested(cells.type):
        return Column(name, "list" if pa.types.is_list(cells.type) else "map", filled, "")
    values = cells.unique().drop_null().sort().to_pylist()
    few = ", ".join(map(_short, values)) if len(values) <= _TOLD else _range(values)
    return Column(name, str(cells.type), filled, few, len(values) == 1 and filled == len(cells))


def _range(values: Sequence[Any]) -> str:
    return f"{len(values):,} from {_short(values[0])} to {_short(values[-1])}"


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(_plain(value))
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:39] + "…"


def _plain(value: Any) -> Any:
    """A cell that JSON can hold: times as ISO 8601, decimals as numbers, what is no finite number as none."""
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise InputError(
            f'--sql takes the package duckdb, which cannot be imported ({error}): pip install "dreamjobs[sql]"'
        ) from None
    return duckdb
