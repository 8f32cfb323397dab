"""The files of `infra/` and `cluster/` as whoever uses them reads them, for tests of both kinds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
STACK = ROOT / "infra/stack.yaml"


def filled(path: str, **values: str) -> str:
    """A file with each `${NAME}` replaced, as `envsubst` does; an error if one is left."""
    text = (ROOT / path).read_text()
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    left = set(re.findall(r"\$\{\w+\}", re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)))
    if left:
        raise ValueError(f"{path} asks for {sorted(left)} too")
    return text


def kuberay_objects() -> dict[str, Any]:
    """The objects of cluster/kuberay-job.yaml by kind, filled in."""
    text = filled(
        "cluster/kuberay-job.yaml",
        AWS_REGION="eu-central-1",
        DREAMJOBS_IMAGE="registry.example/dreamjobs:0.1.0",
        DREAMJOBS_MANIFEST="s3://bucket/photos/m.parquet",
        DREAMJOBS_ROLE_ARN="arn:aws:iam::123456789012:role/pods",
        DREAMJOBS_RUN="s3://bucket/runs/first",
    )
    return {found["kind"]: found for found in yaml.safe_load_all(text)}


def eks_config() -> dict[str, Any]:
    """cluster/eks.yaml, filled in."""
    config: dict[str, Any] = yaml.safe_load(filled("cluster/eks.yaml", AWS_REGION="eu-central-1"))
    return config


def aws_config(region: str = "us-east-1") -> dict[str, Any]:
    """cluster/aws.yaml, filled in."""
    text = filled("cluster/aws.yaml", AWS_REGION=region, DREAMJOBS_IMAGE="registry.example/dreamjobs:0.1.0")
    config: dict[str, Any] = yaml.safe_load(text)
    return config


def stack() -> dict[str, Any]:
    """The template as plain data: `!Ref x` is {"!Ref": x}, and so on."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("!", _intrinsic)  # type: ignore[attr-defined]
    template: dict[str, Any] = yaml.load(STACK.read_text(), loader)  # a SafeLoader
    return template


def _intrinsic(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    construct = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: loader.construct_sequence,
        yaml.MappingNode: loader.construct_mapping,
    }[type(node)]
    return {f"!{suffix}": construct(node) if isinstance(node, yaml.ScalarNode) else construct(node, deep=True)}


def pins() -> dict[str, str]:
    """What constraints.txt pins: version by name in pip's spelling."""
    lines = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {spelled(name): version for name, version in lines}


def spelled(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict[str, Any]:
    """What pyproject.toml says of the package."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def version() -> str:
    """The package's version."""
    return str(project()["version"])


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    found: dict[str, Any] = json.loads((ROOT / "infra/grafana/dreamjobs.json").read_text())
    return found


def alerts() -> list[dict[str, Any]]:
    """The alerting rules."""
    groups = yaml.safe_load((ROOT / "infra/grafana/alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
