"""cluster/aws.yaml in the hands of Ray's own launcher, against moto and the deployed stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from infra_files import aws_config
from integration.s3_server import is_moto
from integration.test_cloud_stack import Deployed, deploy

TAGS = {"ray-node-type": "worker", "ray-node-name": "ray-dreamjobs-worker", "ray-user-node-type": "gpu"}


@pytest.fixture(scope="module")
def stack(s3_bucket_url: str) -> Deployed:
    import boto3

    if not is_moto():
        pytest.skip("AWS_ENDPOINT_URL names a server of S3 alone")
    return deploy(boto3.session.Session())


@pytest.fixture(scope="module")
def config(stack: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `ray up` makes of the file: defaults filled in, checked by Ray's schema, resolved against the account."""
    from ray.autoscaler._private.commands import _bootstrap_config
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where the launcher puts the SSH key it makes
        patch.syspath_prepend(str(Path(__file__).parents[2] / "cluster"))
        found = aws_config()
        found["cluster_name"] = stack.cluster
        for kind, node in (("head", "head"), ("gpu", "worker")):
            found["available_node_types"][kind]["node_config"]["LaunchTemplate"] = {
                "LaunchTemplateName": f"{stack.cluster}-{node}"
            }
        validate_config(prepare_config(found))
        yield _bootstrap_config(found, no_config_cache=True)


@pytest.fixture
def provider(config: dict[str, Any]) -> Iterator[Any]:
    """Ray's provider for this cluster; its machines are gone afterwards."""
    from ray.autoscaler._private.providers import _get_node_provider

    found = _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)
    yield found
    found.terminate_nodes(found.non_terminated_nodes({}))


def worker(config: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = config["available_node_types"]["gpu"]["node_config"]
    return node


def is_spot(provider: Any, node: str) -> bool:
    """Whether a machine was launched as a spot one."""
    return provider.ec2.Instance(node).instance_lifecycle == "spot"


def refuse(provider: Any, code: str, *, only_spot: bool = True) -> list[bool]:
    """Have EC2 answer `code` to launches; the list tells of each launch whether it was for a spot machine."""
    from botocore.exceptions import ClientError

    asked: list[bool] = []

    def answer(params: dict[str, Any], **_: Any) -> None:
        asked.append("InstanceMarketOptions.MarketType" in params["body"])
        if asked[-1] or not only_spot:
            raise ClientError({"Error": {"Code": code, "Message": "none left"}}, "RunInstances")

    provider.ec2_fail_fast.meta.client.meta.events.register("before-call.ec2.RunInstances", answer, unique_id="refuse")
    return asked


@pytest.fixture(autouse=True)
def _no_refusals(provider: Any) -> Iterator[None]:
    yield
    provider.ec2_fail_fast.meta.client.meta.events.unregister("before-call.ec2.RunInstances", unique_id="refuse")


def test_machines_are_those_of_the_stack(config: dict[str, Any], stack: Deployed) -> None:
    """Ray takes image, role and group from the launch templates, and makes no role and no group of its own."""
    import boto3

    session = boto3.session.Session()
    groups = session.client("ec2").describe_security_groups()["SecurityGroups"]
    (ours,) = [
        group for group in groups if "SecurityGroup" in group["GroupName"] and stack.cluster in group["GroupName"]
    ]
    for kind, profile in (("head", "HeadProfile"), ("gpu", "WorkerProfile")):
        node = config["available_node_types"][kind]["node_config"]
        assert node["SecurityGroupIds"] == [ours["GroupId"]]
        assert profile in node["IamInstanceProfile"]["Arn"]
        assert node["MetadataOptions"]["HttpTokens"] == "required"
    assert not [role for role in session.client("iam").list_roles()["Roles"] if role["RoleName"].startswith("ray-")]


def test_no_port_is_open_to_the_world(config: dict[str, Any], stack: Deployed) -> None:
    """The one address range that the machines' group admits is AdminCidr, to SSH; the dashboard binds to localhost."""
    import boto3

    (group,) = worker(config)["SecurityGroupIds"]
    (found,) = boto3.session.Session().client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    ranges = [(rule.get("FromPort"), each["CidrIp"]) for rule in found["IpPermissions"] for each in rule["IpRanges"]]
    assert ranges == [(22, "203.0.113.7/32")]
    assert not [rule for rule in found["IpPermissions"] if rule["Ipv6Ranges"]]
    (start,) = [command for command in config["head_start_ray_commands"] if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in start


def test_every_node_asks_for_the_token(config: dict[str, Any]) -> None:
    """Containers run with token authentication, and the token is mounted where Ray looks for it."""
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_workers_are_spot_machines(config: dict[str, Any], provider: Any) -> None:
    """Where there is spot capacity, that is what is launched, with the tag that the head's rights hang on."""
    (node,) = provider.create_node(worker(config), TAGS, 1)
    assert is_spot(provider, node)
    tags = {tag["Key"]: tag["Value"] for tag in provider.ec2.Instance(node).tags}
    assert tags["ray-cluster-name"] == config["cluster_name"]


def test_without_spot_capacity_workers_are_on_demand(config: dict[str, Any], provider: Any) -> None:
    """After every subnet had no spot machine, the same machine is launched on demand."""
    asked = refuse(provider, "InsufficientInstanceCapacity")
    (node,) = provider.create_node(worker(config), TAGS, 1)
    assert not is_spot(provider, node)
    assert asked == [True] * (len(asked) - 1) + [False]
    assert len(asked) > len(worker(config)["SubnetIds"])


@pytest.mark.parametrize(
    ("code", "only_spot"), [("UnauthorizedOperation", True), ("InsufficientInstanceCapacity", False)]
)
def test_other_refusals_are_told(config: dict[str, Any], provider: Any, code: str, only_spot: bool) -> None:
    """What on-demand machines do not mend, and having neither kind, is Ray's own error."""
    from ray.autoscaler.node_launch_exception import NodeLaunchException

    refuse(provider, code, only_spot=only_spot)
    with pytest.raises(NodeLaunchException, match=code):
        provider.create_node(worker(config), TAGS, 1)


def test_the_head_may_do_what_its_provider_does(config: dict[str, Any], provider: Any, stack: Deployed) -> None:
    """Launching, listing, tagging and ending a worker takes no call that the stack's LaunchPolicy does not name."""
    called: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        called.add(f"ec2:{model.name}")

    for resource in (provider.ec2, provider.ec2_fail_fast):
        resource.meta.client.meta.events.register("before-call.ec2", note)
    (node,) = provider.create_node(worker(config), TAGS, 1)
    provider.non_terminated_nodes({})
    provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
    provider.internal_ip(node)
    provider.terminate_node(node)
    allowed = {
        action
        for statement in stack.statements["LaunchPolicy"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert called <= allowed
    assert allowed - called <= {"iam:PassRole", "ec2:CreateTags"}
