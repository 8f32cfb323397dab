"""The results of a run: a Parquet dataset under RUN/results, a row a job, written in parts and read as one.

Parts are only ever added; a part is put whole. Of several rows for one job the current one is a done one before a
failed one, and otherwise the latest. `compact` replaces parts by one that holds their current rows, putting the new
before it deletes the old, so that a crash between leaves rows twice but loses none.
"""

from dreamjobs.results.append import FLUSH_S, Appender
from dreamjobs.results.merge import compact
from dreamjobs.results.read import current, gather, read
from dreamjobs.results.rows import SCHEMA, now, to_row

__all__ = ["FLUSH_S", "SCHEMA", "Appender", "compact", "current", "gather", "now", "read", "to_row"]
