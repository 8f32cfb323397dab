"""What the model says of parameters, in words: for errors, for help, for the pages."""

import difflib
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from dreamjobs.params.model import CELL_NAMES, DreamParams


def problems(error: ValidationError) -> list[str]:
    """One line for each parameter that failed: its name, value, and what is allowed."""
    lines: dict[str, str] = {}
    for item in error.errors():
        name = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            lines[name] = f"{name}: no such parameter{nearest(name, CELL_NAMES)}"
            continue
        lines.setdefault(name, f"{name}: {item['input']!r} is refused; allowed is {allowed(name)}")
    return list(lines.values())


@functools.cache
def json_schema() -> dict[str, Any]:
    """The JSON schema of each parameter; made once, because that takes milliseconds and every bad value asks for it."""
    properties: dict[str, Any] = DreamParams.model_json_schema()["properties"]
    return properties


def allowed(name: str) -> str:
    """What a parameter may be, in words drawn from the model: `a whole number, at least 1 and at most 32`."""
    schema = json_schema()[name]
    return " or ".join(_allowed(option) for option in schema.get("anyOf", [schema]))


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
    "multipleOf": "in multiples of",
    "ge": "at least",  # what pydantic calls the bounds of a choice's options
    "le": "at most",
}


def _allowed(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "examples" in schema:
        return "text such as " + " or ".join(f"`{value}`" for value in schema["examples"])
    bounds = [f"{words} {schema[key]:,}" for key, words in _BOUNDS.items() if key in schema]
    return _KINDS[schema["type"]] + (", " + " and ".join(bounds) if bounds else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for a name close to a known one, else a short list of what is known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    return "; known are " + ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def markdown_table() -> str:
    """The parameters as a Markdown table, for the documentation."""
    rows = ["| parameter | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in DreamParams.model_fields.items():
        default = "none" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{name}` | {default} | {allowed(name)} | {field.description} |")
    return "\n".join(rows)
