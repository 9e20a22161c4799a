"""A Ray cluster of several machines on this one: each is a raylet and the processes below it, which die together."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import psutil


class Machines:
    """A head without room for runs, and machines with one core each."""

    def __init__(self, cluster: Any, count: int) -> None:
        self._cluster = cluster
        self._nodes = [cluster.add_node(num_cpus=1) for _ in range(count)]
        self.address = f"http://{cluster.head_node.webui_url}"

    def machine_of(self, pid: int) -> Any:
        """The machine on which a process runs; None where it is gone."""
        try:
            above = {process.pid for process in psutil.Process(pid).parents()}
        except psutil.NoSuchProcess:
            return None
        return next((node for node in self._nodes if _raylet(node) in above), None)

    def kill(self, node: Any) -> None:
        """All of a machine at once, by -9; and a new one in its place."""
        raylet = psutil.Process(_raylet(node))
        for process in (raylet, *raylet.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._cluster.add_node(num_cpus=1))


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


@contextlib.contextmanager
def ray_cluster(machines: int, dashboard_port: int) -> Iterator[Machines]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": dashboard_port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield Machines(cluster, machines)
    finally:
        cluster.shutdown()
