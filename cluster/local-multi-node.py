"""Three Ray nodes on this machine, to try what only several nodes show: objects that travel, a node that dies.

`python cluster/local-multi-node.py` prints the address for `dreamjobs run --address` and each node's pid (kill one and
see the run go on), and ends all of them at Ctrl-C or when its standard input does. It touches no other Ray here.
"""

import argparse
import signal
import sys

from ray.cluster_utils import Cluster

OBJECT_STORE_BYTES = 200_000_000


def main() -> None:
    """Start the nodes, say where, and wait."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    cluster = Cluster(shutdown_at_exit=False)
    try:
        for number in range(1, options.nodes + 1):
            node = cluster.add_node(num_cpus=options.cpus, object_store_memory=OBJECT_STORE_BYTES)
            say(f"node {number}: {options.cpus} cpus, raylet {raylet_pid(node)}")
        cluster.wait_for_nodes()
        say(f"dreamjobs run MANIFEST RUN --address {cluster.address}")
        sys.stdin.read()
    except KeyboardInterrupt:
        say("stopping")
    finally:
        cluster.shutdown()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes (default 3, the first is the head)")
    parser.add_argument("--cpus", type=int, default=1, help="what each node says it has (default 1)")
    return parser.parse_args()


def raylet_pid(node: object) -> int:
    """The process that is the node, for whoever wants to see it die."""
    return int(node.all_processes["raylet"][0].process.pid)  # type: ignore[attr-defined]  # ray types no nodes


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
