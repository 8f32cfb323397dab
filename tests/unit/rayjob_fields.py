"""A JSON schema of a RayJob, drawn up by hand from KubeRay's documented fields.

It is not KubeRay's CRD, which no package registry carries: it knows the fields of `ray.io/v1` as of KubeRay 1.5.1, so
that a misspelt or misplaced one is found, and leaves pod templates to Kubernetes' own schemas. It was held against the
Go types and the API reference in KubeRay's repository (docs/reference/api.md at 0057210, which is before 1.5 and so
lacks `authOptions`, `labels`, `resources` and `SidecarMode`). What the API server and the operator check beyond that is
found out only there.
"""

from __future__ import annotations

from typing import Any

INTEGER: dict[str, Any] = {"type": "integer"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}
TRUTH: dict[str, Any] = {"type": "boolean"}
OBJECT: dict[str, Any] = {"type": "object"}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": TEXT}
LIST: dict[str, Any] = {"type": "array"}


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    """An object of these fields and no other."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def one_of(*values: str) -> dict[str, Any]:
    """One of these words."""
    return {"enum": list(values)}


HEAD = closed(
    "rayStartParams",
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
    "rayStartParams",
    "template",
    suspend=TRUTH,
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    rayStartParams=TEXTS,
    template=OBJECT,
    scaleStrategy=OBJECT,
    numOfHosts=COUNT,
    resources=TEXTS,
    labels=TEXTS,
)

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

CLUSTER = closed(
    "headGroupSpec",
    suspend=TRUTH,
    managedBy=TEXT,
    authOptions=closed(mode=one_of("disabled", "token")),
    autoscalerOptions=AUTOSCALER,
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=TRUTH,
    gcsFaultToleranceOptions=OBJECT,
    headGroupSpec=HEAD,
    rayVersion=TEXT,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)

JOB = closed(
    activeDeadlineSeconds=INTEGER,
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER,
    submitterPodTemplate=OBJECT,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=closed(backoffLimit=COUNT),
    managedBy=TEXT,
    deletionStrategy=OBJECT,
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
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
    metadata=closed("name", "namespace", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
    spec=JOB,
)
"""The whole object."""
