"""infra/stack.yaml: linted, its bucket closed, its grants narrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cfnlint import api
from infra_files import STACK, aws_config, stack


def resources(kind: str) -> list[dict[str, Any]]:
    """The properties of each resource of a kind."""
    return [found["Properties"] for found in stack()["Resources"].values() if found["Type"] == kind]


def statements() -> Iterator[dict[str, Any]]:
    """Every statement that grants something to a role."""
    for policy in resources("AWS::IAM::ManagedPolicy"):
        yield from policy["PolicyDocument"]["Statement"]


def test_cfn_lint_is_content() -> None:
    """The linter of CloudFormation, which knows each resource's schema, finds nothing."""
    assert api.lint_file(STACK) == []


def test_every_parameter_and_output_says_what_it_is() -> None:
    """Parameters and outputs have descriptions."""
    template = stack()
    described = {**template["Parameters"], **template["Outputs"]}
    assert [name for name, found in described.items() if not found.get("Description")] == []


def test_the_bucket_is_closed_and_keeps_what_is_overwritten() -> None:
    """Versions, encryption, no public access by any way, only TLS, and unfinished uploads go after two days."""
    (bucket,) = resources("AWS::S3::Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules if "AbortIncompleteMultipartUpload" in rule] == [
        {"DaysAfterInitiation": 2}
    ]
    (policy,) = resources("AWS::S3::BucketPolicy")
    (deny,) = policy["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_was_made_outlives_the_stack() -> None:
    """Deleting the stack deletes neither pictures nor images."""
    kept = [name for name, found in stack()["Resources"].items() if found.get("DeletionPolicy") == "Retain"]
    assert kept == ["Bucket", "ImageRepository"]


def test_no_grant_is_wild() -> None:
    """No action has a wildcard, and only two that name no resource in IAM are granted on all."""
    for statement in statements():
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert not [action for action in actions if "*" in action]
        if statement["Resource"] == "*":
            assert set(actions) <= {"ec2:DescribeInstances", "ecr:GetAuthorizationToken"}


def test_machines_can_pull_the_image_wherever_it_is() -> None:
    """Head and workers have the right with or without the stack's repository: of that one alone, else of any here."""
    pull = stack()["Resources"]["PullPolicy"]
    assert "Condition" not in pull
    condition, own, any_here = pull["Properties"]["PolicyDocument"]["Statement"][1]["Resource"]["!If"]
    assert (condition, own) == ("HasRepository", {"!GetAtt": "ImageRepository.Arn"})
    assert any_here["!Sub"].endswith("ecr:${AWS::Region}:${AWS::AccountId}:repository/*")
    roles = [stack()["Resources"][name]["Properties"]["ManagedPolicyArns"] for name in ("HeadRole", "WorkerRole")]
    assert [{"!Ref": "PullPolicy"} in policies for policies in roles] == [True, True]


def holds(condition: Any, parameters: dict[str, Any]) -> Any:
    """What a condition of the template comes to with these parameters; numbers are compared as text, as on AWS."""
    if not isinstance(condition, dict):
        return str(condition)
    ((function, operand),) = condition.items()
    if function == "!Ref":
        return str(parameters[operand])
    values = [holds(found, parameters) for found in operand]
    return {"!Equals": lambda: values[0] == values[1], "!Not": lambda: not values[0]}[function]()


def chosen(**parameters: Any) -> dict[str, Any]:
    """All parameters of the stack, those not named at their defaults."""
    return {name: found.get("Default") for name, found in stack()["Parameters"].items()} | parameters


def test_an_alarm_is_made_if_a_budget_is_set() -> None:
    """The budget stands under a condition that holds for any sum but the default, which is none."""
    budget, condition = stack()["Resources"]["Budget"], stack()["Conditions"]["HasBudget"]
    assert budget["Condition"] == "HasBudget"
    assert not holds(condition, chosen())
    assert holds(condition, chosen(MonthlyBudgetUsd=100))
    assert stack()["Parameters"]["MonthlyBudgetUsd"]["MinValue"] == 0


def test_an_alarm_has_a_reader() -> None:
    """A sum without an address is refused, before anything is made; an address without a sum is not."""
    rule = stack()["Rules"]["AlarmHasReader"]
    (assertion,) = rule["Assertions"]

    def accepted(**parameters: Any) -> bool:
        every = chosen(**parameters)
        return not holds(rule["RuleCondition"], every) or bool(holds(assertion["Assert"], every))

    assert accepted()
    assert accepted(BudgetEmail="you@example.org")
    assert accepted(MonthlyBudgetUsd=100, BudgetEmail="you@example.org")
    assert not accepted(MonthlyBudgetUsd=100)
    assert "BudgetEmail" in assertion["AssertDescription"]


def test_mail_is_sent_before_and_when_a_budget_is_to_be_passed() -> None:
    """The sum is of dollars a month; at 80 % of it spent and at all of it forecast the address gets a mail."""
    (budget,) = resources("AWS::Budgets::Budget")
    limit = {"Amount": {"!Ref": "MonthlyBudgetUsd"}, "Unit": "USD"}
    assert budget["Budget"] == {"BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}
    notices = [found["Notification"] for found in budget["NotificationsWithSubscribers"]]
    assert {found["ComparisonOperator"] for found in notices} == {"GREATER_THAN"}
    assert [(found["NotificationType"], found["Threshold"]) for found in notices] == [
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    ]
    assert {found.get("ThresholdType", "PERCENTAGE") for found in notices} == {"PERCENTAGE"}
    for found in budget["NotificationsWithSubscribers"]:
        assert found["Subscribers"] == [{"SubscriptionType": "EMAIL", "Address": {"!Ref": "BudgetEmail"}}]


def test_ssh_cannot_be_opened_to_the_world() -> None:
    """AdminCidr has no default and takes no range wider than a /16."""
    import re

    parameter = stack()["Parameters"]["AdminCidr"]
    assert "Default" not in parameter
    assert re.fullmatch(parameter["AllowedPattern"], "203.0.113.7/32")
    assert not re.fullmatch(parameter["AllowedPattern"], "0.0.0.0/0")


def test_names_agree_with_the_cluster_file() -> None:
    """Cluster name, launch templates and machine types of cluster/aws.yaml are the stack's defaults."""
    parameters, config = stack()["Parameters"], aws_config()
    kinds = {name: found["node_config"] for name, found in config["available_node_types"].items()}
    name = parameters["ClusterName"]["Default"]
    assert config["cluster_name"] == name
    assert kinds["head"]["LaunchTemplate"] == {"LaunchTemplateName": f"{name}-head"}
    assert kinds["gpu"]["LaunchTemplate"] == {"LaunchTemplateName": f"{name}-worker"}
    assert kinds["head"]["InstanceType"] == parameters["HeadInstanceType"]["Default"]
    assert kinds["gpu"]["InstanceType"] == parameters["WorkerInstanceType"]["Default"]
