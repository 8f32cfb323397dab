"""A node provider for `ray up` on AWS that asks for spot machines first, and for on-demand ones where there are none.

Ray's own provider asks again and again for the kind of machine that its autoscaler chose, and the autoscaler (2.60)
does not count a refused launch against that kind: beside a spot type, an on-demand type of the same size is used only
once the first is at its `max_workers`. So a machine is one type here, and the refusal is answered where it arrives.

`ray up` imports it by name (`provider.module` in aws.yaml), on the laptop and on the head: PYTHONPATH has this folder.
"""

from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.cli_logger import cli_logger
from ray.autoscaler.node_launch_exception import NodeLaunchException

NO_SPOT = frozenset(
    {"InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow", "UnfulfillableCapacity"}
)
"""What EC2 answers where spot machines have run out, or the account may have no more of them."""


class SpotFirstProvider(AWSNodeProvider):
    """Ray's provider for AWS, but a spot machine that cannot be had becomes an on-demand one."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Launch `count` machines, and return them by id.

        Ray's provider has by then tried every subnet, which is every availability zone.

        Raises:
            NodeLaunchException: where neither kind can be had, or the request itself is wrong.
        """
        try:
            return super().create_node(node_config, tags, count)
        except NodeLaunchException as error:
            if "InstanceMarketOptions" not in node_config or error.category not in NO_SPOT:
                raise
            cli_logger.warning("no spot machine ({}); launching on demand", error.category)
        on_demand = {name: value for name, value in node_config.items() if name != "InstanceMarketOptions"}
        return super().create_node(on_demand, tags, count)
