"""The parameters of one dream: validated, frozen, with one canonical text.

Lengths are pixels of the picture being dreamed, pixel values are in [0, 1]. Names that come from a manifest are
untrusted: no value here can name code to be run, unless the caller passes `trusted=True` for a net of their own.
The defaults are the published recipe (Mordvintsev, Olah, Tyka: Inceptionism, 2015) in these units.
"""

from dreamjobs.params.making import make_params, names_file
from dreamjobs.params.model import CELL_NAMES, DEFAULT_NET, DEFAULT_OBJECTIVE, PARAM_NAMES, DreamParams
from dreamjobs.params.words import allowed, json_schema, markdown_table, nearest, problems

__all__ = [
    "CELL_NAMES",
    "DEFAULT_NET",
    "DEFAULT_OBJECTIVE",
    "PARAM_NAMES",
    "DreamParams",
    "allowed",
    "json_schema",
    "make_params",
    "markdown_table",
    "names_file",
    "nearest",
    "problems",
]
