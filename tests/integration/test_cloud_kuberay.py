"""cluster/kuberay-job.yaml as the autoscaler beside the head reads it."""

from __future__ import annotations

from infra_files import kuberay_objects


def test_ray_sees_cards_and_limits() -> None:
    """Ray's own reading of the cluster: a head without cores, and from 1 to 8 workers of one card each."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    job = kuberay_objects()["RayJob"]
    cluster = {"metadata": job["metadata"], "spec": job["spec"]["rayClusterSpec"]}
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    kinds = config["available_node_types"]
    head = kinds.pop(config["head_node_type"])
    (gpu,) = kinds.values()
    assert head["resources"]["CPU"] == 0
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, 8)
    assert (gpu["resources"]["GPU"], gpu["resources"]["CPU"]) == (1, 6)
    assert config["idle_timeout_minutes"] == 5
