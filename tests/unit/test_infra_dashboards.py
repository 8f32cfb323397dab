"""infra/grafana: a dashboard that Grafana takes, and queries that Prometheus parses, of metrics that exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from infra_files import ROOT, alerts, dashboard

RAYS_OWN = {"ray_node_gpus_utilization", "ray_cluster_active_nodes"}
SUFFIXES = ("_bucket", "_sum", "_count")
VARIABLES = {"$session": "session_1", "$run": "first"}


def queries() -> list[str]:
    """Every query of dashboard and alerts, the dashboard's variables filled in."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    found += [rule["expr"] for rule in alerts()]
    for name, value in VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    return found


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
        below = getattr(node, name, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None and type(child).__module__ == type(node).__module__:
                yield from selectors(child)


def exported() -> set[str]:
    """The names that the driver and the actors give their metrics, as Ray exports them."""
    modules = [ast.parse((ROOT / f"dreamjobs/engine/{name}.py").read_text()) for name in ("metrics", "steps")]
    values = [node.value for module in modules for node in module.body if isinstance(node, ast.Assign)]
    names = [value.value for value in values if isinstance(value, ast.Constant)]
    return {f"ray_{name}" for name in names if str(name).startswith("dreamjobs_")}


def plain(name: str) -> str:
    """A metric's name without what a histogram's series add to it."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


@pytest.mark.parametrize("query", queries())
def test_queries_parse_and_name_metrics_that_exist(query: str) -> None:
    """A query is PromQL, and each metric in it is exported by dreamjobs or is one of Ray's that is known here."""
    found = list(selectors(promql_parser.parse(query)))
    assert found
    assert {plain(selector.name) for selector in found} <= exported() | RAYS_OWN


def test_every_metric_is_shown() -> None:
    """Each metric that dreamjobs exports is in the dashboard or an alert."""
    shown = {plain(selector.name) for query in queries() for selector in selectors(promql_parser.parse(query))}
    assert exported() - shown == set()


def test_rays_own_metrics_are_rays() -> None:
    """What is taken for Ray's own metrics is defined in the Ray that is installed."""
    import importlib.util

    (place,) = importlib.util.find_spec("ray").submodule_search_locations  # type: ignore[union-attr, misc]
    with open(f"{place}/dashboard/modules/reporter/reporter_agent.py") as file:
        source = file.read()
    assert [name for name in RAYS_OWN if f'"{name.removeprefix("ray_")}": Gauge(' not in source] == []


def test_the_dashboard_is_whole() -> None:
    """Panels have ids of their own, places that do not overlap on a grid of 24, titles, words on them, and a source."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert {target["refId"] for target in panel["targets"]} == set("ABC"[: len(panel["targets"])])


def test_variables_are_defined() -> None:
    """Every variable that the queries use is one of the dashboard's."""
    names = {f"${entry['name']}" for entry in dashboard()["templating"]["list"]}
    assert set(VARIABLES) <= names


def test_alerts_say_what_to_do() -> None:
    """Each alert has a severity, a summary, and a description of what to look at."""
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
