"""Manifests: Parquet files of photographs and parameter grids, built, checked and read row by row."""

from dreamjobs.manifest.build import Built, build
from dreamjobs.manifest.check import Checked, check
from dreamjobs.manifest.columns import META_PREFIX, SOURCE_FIELDS, param_type
from dreamjobs.manifest.expand import DigestOf, Expander, Known
from dreamjobs.manifest.read import Manifest, Row, open_manifest
from dreamjobs.manifest.select import Condition, Selection, parse_condition

__all__ = [
    "META_PREFIX",
    "SOURCE_FIELDS",
    "Built",
    "Checked",
    "Condition",
    "DigestOf",
    "Expander",
    "Known",
    "Manifest",
    "Row",
    "Selection",
    "build",
    "check",
    "open_manifest",
    "param_type",
    "parse_condition",
]
