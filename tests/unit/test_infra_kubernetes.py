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
from unit.rayjob_fields import KUBERAY, RAYJOB, broken_rules, kubernetes_parts

from dreamjobs.cli.app import app

KUBERNETES = "1.35"  # eksctl's cluster is of this version


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


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The RayJob with another value, or a new one, at a path below its `spec`."""
    job = deepcopy(rayjob())
    place = job["spec"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return job


def check(job: dict[str, Any]) -> None:
    """Whatever can be said against a RayJob without a cluster: an error at the first thing."""
    jsonschema.validate(job, RAYJOB)
    for part in kubernetes_parts(job).values():
        kubernetes_validate.validate(part, KUBERNETES, strict=True)
    assert broken_rules(job) == []


def test_the_rayjob_agrees_with_the_schema_of_a_pinned_kuberay() -> None:
    """Fields, types and allowed words are those of one release, which the guide installs."""
    jsonschema.Draft202012Validator.check_schema(RAYJOB)
    check(rayjob())
    assert f"kuberay-operator --version {KUBERAY}" in Path("docs/cluster.md").read_text(encoding="utf-8")


def test_kubernetes_is_of_one_version() -> None:
    """Pods are checked by the schemas of the Kubernetes that cluster/eks.yaml makes."""
    assert eks_config()["metadata"]["version"] == KUBERNETES


CLUSTER = "rayClusterSpec"
AUTOSCALER = (CLUSTER, "autoscalerOptions")
HEAD = (CLUSTER, "headGroupSpec")
WORKERS = (CLUSTER, "workerGroupSpecs", 0)
FAILED: dict[str, Any] = {"jobStatus": "FAILED"}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ((CLUSTER, "authOption"), {"mode": "token"}, "authOption"),
        ((CLUSTER, "enableInTreeAutoScaling"), True, "enableInTreeAutoScaling"),
        ((CLUSTER, "authOptions", "mode"), "tokens", "tokens"),
        ((CLUSTER, "workerGroupSpecs"), [{"groupName": "gpu"}], "'minReplicas' is a required"),
        ((CLUSTER, "headGroupSpec"), {"serviceType": "ClusterIP"}, "'template' is a required"),
        ((CLUSTER, "gcsFaultToleranceOptions"), {}, "'redisAddress' is a required"),
        ((*AUTOSCALER, "upscalingMode"), "Quick", "Quick"),
        (("submissionMode",), "K8SJobMode", "K8SJobMode"),
        (("preRunningDeadlineSeconds",), 0, "minimum"),
        (("backoffLimit",), "3", "integer"),
        (("deletionStrategy",), {"deletionRules": []}, "non-empty|too short"),
        (("deletionStrategy",), {}, "not valid under any"),
        (("deletionStrategy",), {"onSuccess": {"policy": "DeleteNone"}}, "'onFailure' is a dependency|not valid"),
        (("deletionStrategy",), {"deletionRules": [{"policy": "DeleteSelf", "condition": {}}]}, "not valid under any"),
        (
            ("deletionStrategy",),
            {"deletionRules": [{"policy": "DeleteSelf", "condition": FAILED | {"jobDeploymentStatus": "Failed"}}]},
            "valid under each",
        ),
    ],
)
def test_what_the_schema_does_not_know_is_found(path: tuple[str | int, ...], value: object, says: str) -> None:
    """A field that does not exist or is not there, a word or a number that is not allowed."""
    with pytest.raises(jsonschema.ValidationError, match=says):
        jsonschema.validate(changed(path, value), RAYJOB)


@pytest.mark.parametrize("name", ["Dreamjobs", "1-job", "job-", "a" * 48])
def test_a_name_that_the_operator_refuses_is_found(name: str) -> None:
    """The job's name begins the names of Services, which are short and of small letters."""
    job = deepcopy(rayjob())
    job["metadata"]["name"] = name
    with pytest.raises(jsonschema.ValidationError, match=r"does not match|too long"):
        jsonschema.validate(job, RAYJOB)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ((*AUTOSCALER, "securityContext"), {"nonsense": 1}, "nonsense"),
        ((*AUTOSCALER, "resources"), {"request": 1}, "request"),
        ((*AUTOSCALER, "resources"), {"requests": [1]}, "is not of type"),
        ((*AUTOSCALER, "env"), ["x"], "is not of type"),
        ((*AUTOSCALER, "env"), [{"name": "x", "valueFrom": {"secret": {}}}], "secret"),
        ((*AUTOSCALER, "envFrom"), [{"configMap": {}}], "configMap"),
        ((*AUTOSCALER, "volumeMounts"), [{"name": "x"}], "'mountPath' is a required"),
        ((*HEAD, "headService"), {"spec": {"port": 80}}, "port"),
        ((*HEAD, "headService"), {"spec": {"ports": [{"name": "x"}]}}, "'port' is a required"),
        ((*HEAD, "template", "spec", "container"), [], "container"),
        ((*WORKERS, "template", "spec", "tolerations"), [{"keys": "x"}], "keys"),
        (("submitterPodTemplate", "spec", "securityContext"), {"runAsRoot": False}, "runAsRoot"),
        (
            (CLUSTER, "gcsFaultToleranceOptions"),
            {"redisAddress": "x:6379", "redisPassword": {"valueFrom": {"secretRef": {}}}},
            "secretRef",
        ),
    ],
)
def test_what_kubernetes_does_not_know_is_found(path: tuple[str | int, ...], value: object, says: str) -> None:
    """A part of the RayJob that Kubernetes defines is held to its schema, wherever KubeRay has put it."""
    job = changed(path, value)
    jsonschema.validate(job, RAYJOB)
    with pytest.raises(kubernetes_validate.ValidationError, match=says):
        check(job)


def test_what_kubernetes_knows_may_be_said() -> None:
    """A head's Service, the autoscaler's variables and mounts, and a password from a Secret are no errors."""
    password = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    check(changed((*HEAD, "headService"), {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}]}}))
    check(changed((*AUTOSCALER, "env"), [{"name": "X", "value": "y"}]))
    check(changed((*AUTOSCALER, "envFrom"), [{"configMapRef": {"name": "x"}}]))
    check(changed((*AUTOSCALER, "volumeMounts"), [{"name": "x", "mountPath": "/x"}]))
    check(changed((CLUSTER, "gcsFaultToleranceOptions"), {"redisAddress": "x:6379", "redisPassword": password}))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("shutdownAfterJobFinishes",), False, "a time to live needs a shutdown"),
        (("submissionMode",), "InteractiveMode", "an interactive job is not tried again"),
        (("submissionMode",), "SidecarMode", "a sidecar submits, so no submitter does"),
        (
            ("deletionStrategy",),
            {"deletionRules": [{"policy": "DeleteSelf", "condition": FAILED}]},
            "deletion rules are in place of a shutdown",
        ),
        (
            ("deletionStrategy",),
            {"onSuccess": {"policy": "DeleteSelf"}, "onFailure": {"policy": "DeleteNone"}},
            "a shutdown deletes something",
        ),
        (("deletionStrategy",), {"onSuccess": {"policy": "DeleteSelf"}, "onFailure": {}}, "a policy is named"),
        (
            ("deletionStrategy",),
            {"onSuccess": {"policy": "DeleteSelf"}, "onFailure": {"policy": "DeleteWorkers"}},
            "an autoscaler's workers are not deleted alone",
        ),
        ((*HEAD, "resources"), {"CPU": "0"}, "resources are named in one place"),
        ((*WORKERS, "rayStartParams", "labels"), "spot=yes", "labels are no start parameter"),
        ((*HEAD, "template", "spec", "containers"), [], "a pod has a container"),
        ((*WORKERS, "suspend"), True, "an autoscaler's workers are not suspended"),
        ((CLUSTER, "rayVersion"), "2.51.9", "a token needs Ray 2.52"),
        ((CLUSTER, "rayVersion"), "", "a token needs Ray 2.52"),
        ((CLUSTER, "authOptions", "enableK8sTokenAuth"), True, "a job's token is not Kubernetes' own"),
    ],
)
def test_what_the_operator_refuses_is_found(path: tuple[str | int, ...], value: object, says: str) -> None:
    """Fields that are each allowed and do not go together."""
    job = changed(path, value)
    jsonschema.validate(job, RAYJOB)
    assert broken_rules(job) == [says]


def test_what_never_restarts_must_not_be_told_to() -> None:
    """With autoscaler v2, and in a head that a sidecar submits from, a restart policy is `Never` or left out."""
    job = changed((*AUTOSCALER, "version"), "v2")
    assert broken_rules(job) == []
    head = job["spec"][CLUSTER]["headGroupSpec"]["template"]["spec"]
    head["restartPolicy"] = "Always"
    job["spec"]["submissionMode"] = "SidecarMode"
    del job["spec"]["submitterPodTemplate"]
    assert broken_rules(job) == ["a head with a sidecar does not restart", "pods of autoscaler v2 do not restart"]
    head["restartPolicy"] = "Never"
    check(job)


def test_what_is_suspended_needs_a_shutdown() -> None:
    """A job may be made suspended, as it is here; without a shutdown at its end it may not."""
    job = changed(("suspend",), True)
    check(job)
    del job["spec"]["shutdownAfterJobFinishes"], job["spec"]["ttlSecondsAfterFinished"]
    assert broken_rules(job) == ["what is suspended needs a shutdown"]


@pytest.mark.parametrize("kind", ["ServiceAccount", "NetworkPolicy"])
def test_plain_objects_are_valid(kind: str) -> None:
    """The service account and the network policy agree with Kubernetes' own schemas."""
    kubernetes_validate.validate(kuberay_objects()[kind], KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["submitter", "head", "gpu", "autoscaler"])
def test_pods_are_valid(name: str) -> None:
    """Each pod template of the RayJob, and what it says of the autoscaler, agrees with Kubernetes' own schema."""
    kubernetes_validate.validate(kubernetes_parts(rayjob())[name], KUBERNETES, strict=True)


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
