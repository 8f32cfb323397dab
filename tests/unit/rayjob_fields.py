"""What a RayJob of KubeRay 1.6.2 may say: each field of `ray.io/v1` of that release, no other, and rules between them.

Drawn up in this project's own words, since no package registry carries the CRD:

- The fields are those of the release's field reference (KubeRay's docs/reference/api.md at 0a9eabde), which is made
  from the Go types of its CRD and checked against them.
- A field must be there if its Go type has neither `omitempty` nor `+optional`. The types were read in
  raycluster_types.go at 3275ee09, before the release; `rayStartParams` became optional in between (KubeRay 1.4).
  `minReplicas` and `maxReplicas` have defaults, which the API server would fill in: to ask for them is stricter.
- What Kubernetes defines is left to Kubernetes' own schemas: `kubernetes_parts` puts it in objects that those know.
- `broken_rules` has the checks that the operator makes before it starts anything, as they were shortly before 1.6
  (controllers/ray/utils/validation.go at 0074504f), less those on Redis and on clusters that are there already: no file
  here has anything of either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

KUBERAY = "1.6.2"

POSITIVE: dict[str, Any] = {"type": "integer", "minimum": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}
TRUTH: dict[str, Any] = {"type": "boolean"}
OBJECT: dict[str, Any] = {"type": "object"}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": TEXT}
LIST: dict[str, Any] = {"type": "array"}
# A Service is named after the cluster, which is named after the job, and has 63 letters at the most.
NAME: dict[str, Any] = {"type": "string", "maxLength": 47, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
MANAGER: dict[str, Any] = {"enum": ["ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"]}


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    """An object of these fields and no other."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def one_of(*values: str) -> dict[str, Any]:
    """One of these words."""
    return {"enum": list(values)}


HEAD = closed(
    "template",
    template=OBJECT,
    headService=OBJECT,
    enableIngress=TRUTH,
    rayStartParams=TEXTS,
    serviceType=one_of("ClusterIP", "NodePort", "LoadBalancer"),
    resources=TEXTS,
    labels=TEXTS,
)

WORKERS = closed(
    "groupName",
    "minReplicas",
    "maxReplicas",
    "template",
    suspend=TRUTH,
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    rayStartParams=TEXTS,
    template=OBJECT,
    scaleStrategy=closed(workersToDelete={"type": "array", "items": TEXT}),
    numOfHosts=COUNT,
    resources=TEXTS,
    labels=TEXTS,
)

# What of the autoscaler's options is a container's, with the same names and types.
CONTAINER = ("resources", "image", "imagePullPolicy", "securityContext", "env", "envFrom", "volumeMounts")

AUTOSCALER = closed(
    resources=OBJECT,
    image=TEXT,
    imagePullPolicy=one_of("Always", "IfNotPresent", "Never"),
    securityContext=OBJECT,
    idleTimeoutSeconds=COUNT,
    upscalingMode=one_of("Default", "Aggressive", "Conservative"),
    env=LIST,
    envFrom=LIST,
    volumeMounts=LIST,
    version=one_of("v1", "v2"),
)

CREDENTIAL = closed(valueFrom=OBJECT, value=TEXT)

CLUSTER = closed(
    "headGroupSpec",
    upgradeStrategy=closed(type=one_of("Recreate", "None")),
    authOptions=closed(enableK8sTokenAuth=TRUTH, secretName=TEXT, mode=one_of("disabled", "token")),
    suspend=TRUTH,
    managedBy=MANAGER,
    autoscalerOptions=AUTOSCALER,
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=TRUTH,
    gcsFaultToleranceOptions=closed(
        "redisAddress",
        redisUsername=CREDENTIAL,
        redisPassword=CREDENTIAL,
        externalStorageNamespace=TEXT,
        redisAddress=TEXT,
    ),
    headGroupSpec=HEAD,
    rayVersion=TEXT,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)

DELETION = one_of("DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone")

RULE = closed(
    "policy",
    "condition",
    policy=DELETION,
    condition=closed(ttlSeconds=COUNT, jobStatus=one_of("SUCCEEDED", "FAILED"), jobDeploymentStatus=one_of("Failed"))
    | {"oneOf": [{"required": ["jobStatus"]}, {"required": ["jobDeploymentStatus"]}]},
)

JOB = closed(
    activeDeadlineSeconds=POSITIVE,
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER,
    submitterPodTemplate=OBJECT,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=closed(backoffLimit=COUNT),
    managedBy=MANAGER,
    deletionStrategy=closed(
        onSuccess=closed(policy=DELETION),
        onFailure=closed(policy=DELETION),
        deletionRules={"type": "array", "items": RULE, "minItems": 1},
    )
    | {
        "oneOf": [{"required": ["deletionRules"]}, {"required": ["onSuccess", "onFailure"]}],
        "dependentRequired": {"onSuccess": ["onFailure"], "onFailure": ["onSuccess"]},
    },
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
    preRunningDeadlineSeconds=POSITIVE,
    shutdownAfterJobFinishes=TRUTH,
    suspend=TRUTH,
)

RAYJOB = closed(
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=closed("name", "namespace", name=NAME, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
    spec=JOB,
)
"""The whole object."""


def kubernetes_parts(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What of a RayJob Kubernetes itself defines, each in an object that its own schemas know, by what it is for."""
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    head, autoscaler = cluster["headGroupSpec"], cluster.get("autoscalerOptions", {})
    container = {name: autoscaler[name] for name in CONTAINER if name in autoscaler}
    redis = cluster.get("gcsFaultToleranceOptions", {})
    variables = [{"name": name, **redis[name]} for name in ("redisUsername", "redisPassword") if name in redis]
    parts = {
        "head": _template(head["template"]),
        **{group["groupName"]: _template(group["template"]) for group in cluster.get("workerGroupSpecs", [])},
        "autoscaler": _pod(container),
        "redis": _pod({"env": variables}),
    }
    if "submitterPodTemplate" in spec:
        parts["submitter"] = _template(spec["submitterPodTemplate"])
    if "headService" in head:
        parts["head service"] = head["headService"] | {"apiVersion": "v1", "kind": "Service"}
    return parts


def _template(template: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}


def _pod(container: dict[str, Any]) -> dict[str, Any]:
    spec = {"containers": [{"name": "x", **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}


def broken_rules(job: dict[str, Any]) -> list[str]:
    """What the operator would refuse although each field by itself is allowed."""
    spec = job["spec"]
    found = [*_job_rules(spec), *_deletion_rules(spec), *_cluster_rules(spec["rayClusterSpec"])]
    return [rule for rule, broken in found if broken]


def _job_rules(spec: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    shutdown, mode = spec.get("shutdownAfterJobFinishes", False), spec.get("submissionMode")
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    submitter = "submitterPodTemplate" in spec or "submitterConfig" in spec
    yield "a time to live needs a shutdown", spec.get("ttlSecondsAfterFinished", 0) > 0 and not shutdown
    yield "what is suspended needs a shutdown", spec.get("suspend", False) and not shutdown
    yield "an interactive job is not tried again", mode == "InteractiveMode" and spec.get("backoffLimit", 0) > 0
    yield "a sidecar submits, so no submitter does", mode == "SidecarMode" and submitter
    yield "a head with a sidecar does not restart", mode == "SidecarMode" and _restarts(head)


def _deletion_rules(spec: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    strategy, shutdown = spec.get("deletionStrategy", {}), spec.get("shutdownAfterJobFinishes", False)
    rules = strategy.get("deletionRules", [])
    plain = [strategy[name].get("policy") for name in ("onSuccess", "onFailure") if name in strategy]
    scaled = spec["rayClusterSpec"].get("enableInTreeAutoscaling", False)
    workers = "DeleteWorkers" in [*plain, *(rule["policy"] for rule in rules)]
    yield "deletion rules are in place of a shutdown", bool(rules) and shutdown
    yield "a shutdown deletes something", shutdown and "DeleteNone" in plain
    yield "a policy is named", None in plain
    yield "an autoscaler's workers are not deleted alone", workers and scaled


def _cluster_rules(cluster: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    head, workers = cluster["headGroupSpec"], cluster.get("workerGroupSpecs", [])
    scaled, auth = cluster.get("enableInTreeAutoscaling", False), cluster.get("authOptions", {})
    version = cluster.get("autoscalerOptions", {}).get("version")
    pods = [group["template"]["spec"] for group in (head, *workers)]
    for group in (head, *workers):
        started = group.get("rayStartParams", {})
        counted = started.keys() & {"num-cpus", "num-gpus", "memory", "resources"}
        yield "resources are named in one place", bool(counted) and bool(group.get("resources"))
        yield "labels are no start parameter", "labels" in started
    yield "a pod has a container", any(not pod["containers"] for pod in pods)
    yield "an autoscaler's workers are not suspended", scaled and any(group.get("suspend") for group in workers)
    yield "pods of autoscaler v2 do not restart", scaled and version == "v2" and any(map(_restarts, pods))
    token = auth.get("mode") == "token"
    yield "a token needs Ray 2.52", token and _release(cluster.get("rayVersion", "")) < (2, 52)
    yield "a job's token is not Kubernetes' own", bool(auth.get("enableK8sTokenAuth"))


def _restarts(pod: dict[str, Any]) -> bool:
    return pod.get("restartPolicy", "Never") != "Never"


def _release(version: str) -> tuple[int, ...]:
    """Its first two numbers; nothing before 2.52 is newer for what comes behind them."""
    return tuple(int(part) for part in version.split(".")[:2]) if version else ()
