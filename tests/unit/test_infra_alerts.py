"""infra/grafana/alerts.yaml: each alert fires on what it is about and on nothing else; promtool says so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from infra_files import ROOT, alerts

FOLDER = ROOT / "infra/grafana"
CASES = "alerts_test.yaml"


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder."""
    path = shutil.which("promtool")
    if path is None:
        pytest.fail("the alerts are tried with promtool, and there is none: apt-get install prometheus", pytrace=False)
    return subprocess.run([path, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the rules and their cases, to spoil."""
    for name in ("alerts.yaml", CASES):
        shutil.copy(FOLDER / name, tmp_path)
    return tmp_path


def spoil(folder: Path, alert: str, **changes: Any) -> None:
    """Write the rules anew with other fields of one alert; None takes a field away."""
    path = folder / "alerts.yaml"
    rules = yaml.safe_load(path.read_text())
    (rule,) = [rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == alert]
    rule.update(changes)
    for name in [name for name, value in rule.items() if value is None]:
        del rule[name]
    path.write_text(yaml.safe_dump(rules))


def test_prometheus_takes_the_rules() -> None:
    """promtool parses every expression, duration and text, and finds as many rules as there are."""
    done = promtool(FOLDER, "check", "rules", "alerts.yaml")
    assert done.returncode == 0, done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_alerts_fire_on_what_they_are_about() -> None:
    """On made-up series what fires, and when, is what the cases say."""
    done = promtool(FOLDER, "test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_the_cases_need_each_alert(alert: str, copy: Path) -> None:
    """Were an alert never to fire, a case would tell."""
    spoil(copy, alert)
    assert promtool(copy, "test", "rules", CASES).returncode == 0  # as they are, but for what writing them anew changes
    spoil(copy, alert, expr="vector(0) > 1")
    done = promtool(copy, "test", "rules", CASES)
    assert done.returncode != 0
    assert alert in done.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts() if "for" in rule])
def test_the_cases_need_each_wait(alert: str, copy: Path) -> None:
    """Were an alert not to wait until its condition has held for long enough, a case would tell."""
    spoil(copy, alert, **{"for": None})
    done = promtool(copy, "test", "rules", CASES)
    assert done.returncode != 0
    assert alert in done.stderr
