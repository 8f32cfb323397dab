"""infra/stack.yaml deployed, and a run that has no more rights than it gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from infra_files import ROOT, STACK
from integration.photos import go, pictures, put_photos, rows
from integration.policy import Policy, enforcing_proxy
from integration.s3_server import is_moto

from dreamjobs import ledger
from dreamjobs.errors import AccessError
from dreamjobs.manifest import build
from dreamjobs.storage import open_store


@dataclass(frozen=True)
class Deployed:
    """The cluster's name, the stack's outputs, and the statements of its policies, by resource."""

    cluster: str
    outputs: dict[str, str]
    statements: dict[str, list[dict[str, Any]]]


def deploy(session: Any) -> Deployed:
    """Create the stack on moto; its machine image is one that moto has."""
    ec2, iam, cloud = session.client("ec2"), session.client("iam"), session.client("cloudformation")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    name = f"dreamjobs-{uuid.uuid4().hex[:8]}"
    session.client("ssm").put_parameter(Name=f"/{name}/image", Value=image, Type="String")
    values = {
        "AdminCidr": "203.0.113.7/32",
        "ClusterName": name,
        "MachineImage": f"/{name}/image",
        "OidcProvider": "oidc.eks.us-east-1.amazonaws.com/id/ABC",
        "VpcId": ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"],
    }
    cloud.create_stack(
        StackName=name,
        # moto resolves a parameter's default even where another value is given, and has no such image
        TemplateBody=re.sub(r"\n    Default: /aws/service.*", "", STACK.read_text()),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    outputs = cloud.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    made = cloud.list_stack_resources(StackName=name)["StackResourceSummaries"]
    statements = {
        found["LogicalResourceId"]: iam.get_policy_version(PolicyArn=found["PhysicalResourceId"], VersionId="v1")[
            "PolicyVersion"
        ]["Document"]["Statement"]
        for found in made
        if found["ResourceType"] == "AWS::IAM::ManagedPolicy"
    }
    return Deployed(name, {found["OutputKey"]: found["OutputValue"] for found in outputs}, statements)


@pytest.fixture(scope="module")
def stack(s3_bucket_url: str) -> Deployed:
    import boto3

    if not is_moto():
        pytest.skip("AWS_ENDPOINT_URL names a server of S3 alone")
    return deploy(boto3.session.Session())


@pytest.fixture
def policy(stack: Deployed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Policy]:
    """From here on, S3 answers to no more than the stack's RunPolicy."""
    policy = Policy(stack.statements["RunPolicy"])
    with enforcing_proxy(policy) as url, monkeypatch.context() as within:
        within.setenv("AWS_ENDPOINT_URL", url)
        yield policy


@pytest.fixture
def archive(stack: Deployed) -> str:
    """A manifest under the photographs' prefix, put there by a person."""
    place = f"{stack.outputs['Photos']}/{uuid.uuid4().hex[:8]}"
    put_photos(place, 2)
    build([place], f"{place}/m.parquet", [])
    return f"{place}/m.parquet"


def test_a_run_needs_what_the_policy_grants_and_no_more(archive: str, stack: Deployed, policy: Policy) -> None:
    """A run, its continuation, status and verify are refused nothing, and leave no action of the policy unused."""
    run = f"{stack.outputs['Runs']}/{uuid.uuid4().hex[:8]}"
    assert go(archive, run, inline=True).done == 2
    assert go(archive, run, {"steps": 3}, inline=True, extend=True).done == 2
    assert ledger.verify(open_store(run), archive).sound
    assert policy.refused == []
    assert policy.granted() - policy.used == {"s3:AbortMultipartUpload"}  # an upload of parts that breaks off


def test_a_missing_photograph_is_a_row(archive: str, stack: Deployed, request: pytest.FixtureRequest) -> None:
    """A photograph that went is NotFoundError, as with all rights, and not taken for a forbidden one."""
    open_store(archive.rpartition("/")[0]).delete("1.png")
    request.getfixturevalue("policy")
    run = f"{stack.outputs['Runs']}/{uuid.uuid4().hex[:8]}"
    assert go(archive, run, inline=True).failed == 1
    assert [row["error_type"] for row in rows(run) if row["error_type"]] == ["NotFoundError"]


@pytest.mark.parametrize("place", ["photos", "", "elsewhere"])
def test_nothing_outside_the_runs_is_written(place: str, stack: Deployed, policy: Policy) -> None:
    """A put under the photographs' prefix, at the bucket's root or anywhere else is refused."""
    bucket = stack.outputs["Photos"].rpartition("/")[0]
    with pytest.raises(AccessError):
        open_store(f"{bucket}/{place}".rstrip("/")).put("x", b"x")


def test_pictures_are_never_deleted(archive: str, stack: Deployed, policy: Policy) -> None:
    """What a run tidies up may be removed, pictures, run.json and photographs not."""
    run = f"{stack.outputs['Runs']}/{uuid.uuid4().hex[:8]}"
    go(archive, run, inline=True)
    store = open_store(run)
    for key in [*pictures(run), "run.json"]:
        with pytest.raises(AccessError):
            store.delete(key)
    with pytest.raises(AccessError):
        open_store(archive.rpartition("/")[0]).delete("0.png")
    assert len(rows(run)) == 2
    for key in ("results/x.parquet", "lease/x/000001.json", "checkpoints/x.safetensors"):
        store.put(key, b"")
        store.delete(key)


def test_other_objects_of_the_bucket_are_not_read(stack: Deployed, policy: Policy) -> None:
    """What lies beside the two prefixes cannot be read."""
    with pytest.raises(AccessError):
        open_store(stack.outputs["Photos"].rpartition("/")[0]).get("private/letter.txt")


def test_the_head_may_pass_no_other_role(stack: Deployed) -> None:
    """The head can start machines with the workers' role, not with its own or an administrator's."""
    (statement,) = [found for found in stack.statements["LaunchPolicy"] if found["Action"] == "iam:PassRole"]
    assert re.fullmatch(r"arn:aws:iam::\d+:role/\S+-WorkerRole-\S+", statement["Resource"])


def test_the_stack_says_where_things_are(stack: Deployed) -> None:
    """The outputs are places that dreamjobs takes as they are, and the image's name."""
    assert open_store(stack.outputs["Photos"]).url == stack.outputs["Photos"]
    assert stack.outputs["Runs"].startswith(stack.outputs["Photos"].rpartition("/")[0])
    assert stack.outputs["Image"].count(":") == 1


def test_the_guide_gets_rid_of_a_bucket(s3_bucket_url: str) -> None:
    """The command of docs/cluster.md deletes a bucket with all versions of what was in it."""
    import boto3

    s3 = boto3.client("s3")
    name = f"gone-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put_object(Bucket=name, Key="x", Body=b"x")
    s3.delete_object(Bucket=name, Key="x")
    (code,) = re.findall(r'^python -c "(.*)" \$bucket$', (ROOT / "docs/cluster.md").read_text(), re.MULTILINE)
    subprocess.run([sys.executable, "-c", code, name], env=os.environ, check=True)
    assert name not in [found["Name"] for found in s3.list_buckets()["Buckets"]]
