"""cluster/kuberay-job.yaml: its fields are ones that exist, its pods are confined, its names agree."""

from __future__ import annotations

import importlib.util
import json
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from infra_files import eks_config, kuberay_objects, pins
from typer.main import get_command
from unit.rayjob_fields import KUBERAY, RAYJOB

from dreamjobs.cli.app import app

KUBERNETES = "1.33"


def rayjob() -> dict[str, Any]:
    found: dict[str, Any] = kuberay_objects()["RayJob"]
    return found


def templates() -> dict[str, dict[str, Any]]:
    """Each pod template by what it is for."""
    spec = rayjob()["spec"]
    cluster = spec["rayClusterSpec"]
    return {
        "submitter": spec["submitterPodTemplate"],
        "head": cluster["headGroupSpec"]["template"],
        **{group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]},
    }


def test_the_rayjob_agrees_with_the_schema_of_a_pinned_kuberay() -> None:
    """Fields, types and allowed words are those of one release, which the guide installs."""
    jsonschema.Draft202012Validator.check_schema(RAYJOB)
    jsonschema.validate(rayjob(), RAYJOB)
    assert f"kuberay-operator --version {KUBERAY}" in Path("docs/cluster.md").read_text(encoding="utf-8")


def test_a_time_to_live_needs_a_shutdown() -> None:
    """The operator refuses `ttlSecondsAfterFinished` without `shutdownAfterJobFinishes`, which no field's type says."""
    spec = rayjob()["spec"]
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["shutdownAfterJobFinishes"] is True


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("rayClusterSpec", "authOption"), {"mode": "token"}, "authOption"),
        (("rayClusterSpec", "enableInTreeAutoScaling"), True, "enableInTreeAutoScaling"),
        (("rayClusterSpec", "authOptions", "mode"), "tokens", "tokens"),
        (("rayClusterSpec", "autoscalerOptions", "upscalingMode"), "Quick", "Quick"),
        (("submissionMode",), "K8SJobMode", "K8SJobMode"),
        (("preRunningDeadlineSeconds",), 0, "minimum"),
        (("backoffLimit",), "3", "integer"),
        (("deletionStrategy",), {"deletionRules": []}, "non-empty|too short"),
    ],
)
def test_what_the_schema_does_not_know_is_found(path: tuple[str, ...], value: object, says: str) -> None:
    """A field that does not exist, a word or a number that is not allowed."""
    job = deepcopy(rayjob())
    place = job["spec"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError, match=says):
        jsonschema.validate(job, RAYJOB)


@pytest.mark.parametrize("kind", ["ServiceAccount", "NetworkPolicy"])
def test_plain_objects_are_valid(kind: str) -> None:
    """The service account and the network policy agree with Kubernetes' own schemas."""
    kubernetes_validate.validate(kuberay_objects()[kind], KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["submitter", "head", "gpu"])
def test_pod_templates_are_valid(name: str) -> None:
    """Each pod template of the RayJob agrees with Kubernetes' own schema."""
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": templates()[name]}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["submitter", "head", "gpu"])
def test_pods_are_confined(name: str) -> None:
    """Every pod runs as a user without rights, cannot gain any, and has the label that the network policy selects."""
    template = templates()[name]
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 1000
    for container in spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "memory" in container["resources"]["limits"]
    selector = kuberay_objects()["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()


def test_only_the_head_has_a_token_of_kubernetes() -> None:
    """The autoscaler beside the head talks to Kubernetes; no other pod is given a token to."""
    mounted = {name for name, found in templates().items() if found["spec"].get("automountServiceAccountToken", True)}
    assert mounted == {"head"}


def test_pods_have_the_role_of_the_stack() -> None:
    """Head and workers use the service account that the role's trust names, and no pod carries a key."""
    objects = kuberay_objects()
    account = objects["ServiceAccount"]["metadata"]
    assert f"{account['namespace']}:{account['name']}" == "dreamjobs:dreamjobs"
    for name in ("head", "gpu"):
        spec = templates()[name]["spec"]
        assert spec["serviceAccountName"] == account["name"]
        names = {entry["name"] for container in spec["containers"] for entry in container.get("env", [])}
        assert not {found for found in names if "KEY" in found or "SECRET" in found or "TOKEN" in found}


def test_the_entrypoint_is_a_command() -> None:
    """The command line takes the RayJob's entrypoint as it is, and it asks for as many actors as there may be cards."""
    spec = rayjob()["spec"]
    program, name, *arguments = shlex.split(spec["entrypoint"])
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    asked = command.make_context(f"{program} {name}", arguments).params
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert str(asked["actors"]).endswith(str(group["maxReplicas"]))
    assert asked["address"] == "auto"
    assert asked["run_url"] == "s3://bucket/runs/first"
    assert (asked["gpus_per_actor"], asked["failures_ok"]) == (1, True)


def test_versions_agree() -> None:
    """The RayJob says the Ray that the image has, and asks for the token, which 2.52 brought."""
    cluster = rayjob()["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pins()["ray"]
    assert cluster["authOptions"] == {"mode": "token"}


def test_workers_find_their_machines_on_eks() -> None:
    """As many spot machines as there may be workers, none at first, with a taint that workers tolerate."""
    cpu, gpu = eks_config()["managedNodeGroups"]
    (group,) = rayjob()["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (gpu["spot"], gpu["minSize"], gpu["desiredCapacity"], gpu["maxSize"]) == (True, 0, 0, group["maxReplicas"])
    tolerated = {(found["key"], found["effect"]) for found in templates()["gpu"]["spec"]["tolerations"]}
    assert {(taint["key"], taint["effect"]) for taint in gpu["taints"]} <= tolerated
    assert not cpu.get("taints")
    assert cpu["minSize"] > 0


def test_what_the_guide_installs_on_eks_fits_it() -> None:
    """The autoscaler is of the cluster's Kubernetes, looks for its name, and takes the account made for it."""
    config, page = eks_config(), Path("docs/cluster.md").read_text(encoding="utf-8")
    (account,) = config["iam"]["serviceAccounts"]
    assert f"--set image.tag=v{config['metadata']['version']}." in page
    assert f"--set autoDiscovery.clusterName={config['metadata']['name']} " in page
    assert f"--set rbac.serviceAccount.name={account['metadata']['name']}\n" in page
    assert config["iam"]["withOIDC"]


def test_the_network_policy_is_kept_on_eks() -> None:
    """EKS enforces network policies only where its network add-on is told to."""
    (values,) = [found["configurationValues"] for found in eks_config()["addons"] if found["name"] == "vpc-cni"]
    assert json.loads(values) == {"enableNetworkPolicy": "true"}


def test_a_spot_notice_is_used() -> None:
    """Ray drains a worker for nearly all of the two minutes of a notice, and Kubernetes lets it."""
    name, spec = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", templates()["gpu"]["spec"]
    (container,) = spec["containers"]
    drain_s = {entry["name"]: entry["value"] for entry in container["env"]}[name]
    assert 90 <= float(drain_s) < spec["terminationGracePeriodSeconds"] < 120
    (ray,) = importlib.util.find_spec("ray").submodule_search_locations  # type: ignore[union-attr, misc]
    assert f'"{name}", 30.0' in Path(ray, "_private/ray_constants.py").read_text(encoding="utf-8")
