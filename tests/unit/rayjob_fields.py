"""A RayJob's JSON schema, of KubeRay 1.6.2: every field of `ray.io/v1` of that release, and no other.

Drawn up in this project's own words from the field reference of that release (docs/reference/api.md at 0a9eabde, which
KubeRay generates from the types of its CRD and checks against them), since no package registry carries the CRD itself.
Which fields must be there is after the CRD of an earlier release and, if anything, stricter. Pod templates are left to
Kubernetes' own schemas. Rules between fields are not here: of those, `test_infra_kubernetes` has the one that the
project's own file could break.
"""

from __future__ import annotations

from typing import Any

KUBERAY = "1.6.2"

POSITIVE: dict[str, Any] = {"type": "integer", "minimum": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}
TRUTH: dict[str, Any] = {"type": "boolean"}
OBJECT: dict[str, Any] = {"type": "object"}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": TEXT}
LIST: dict[str, Any] = {"type": "array"}
MANAGER: dict[str, Any] = {"enum": ["ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"]}


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
    scaleStrategy=closed(workersToDelete={"type": "array", "items": TEXT}),
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
        redisUsername=CREDENTIAL, redisPassword=CREDENTIAL, externalStorageNamespace=TEXT, redisAddress=TEXT
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
    condition=closed(ttlSeconds=COUNT, jobStatus=TEXT, jobDeploymentStatus=TEXT),
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
    ),
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
    metadata=closed("name", "namespace", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
    spec=JOB,
)
"""The whole object."""
