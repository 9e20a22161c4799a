"""Shards of folders as runs on a Ray cluster: each a Ray job, one process that keeps its models.

The cluster says where there is room, Dagster's database how a run went, and leases who may write
(docs/lake.md#several-machines). A run whose machine died is started again, and takes up what was finished.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from resources.home import Home
from resources.lake.leases import LEASE_SECONDS
from resources.lake.locks import Leases
from resources.models.tiers import Tier
from resources.text import one_line
from vistag_assets.partitions import range_tags

if TYPE_CHECKING:
    from dagster_ray import RayRunLauncher

LOCAL = "local"
"""The address of a cluster of this machine alone, which is there as long as the command; `local:2` has two workers."""
DEATHS = 5
"""How often a shard is started again whose process was gone, before it is the shard that is at fault."""
FAILURES = 2
"""How often a shard is started again whose run failed by itself: a server or a store that was away comes back."""
_LOCATION = ("vistag_assets.definitions", "defs")
_CONFIG = "dagster-ray/config"
_PASSED_ON = ("DAGSTER_HOME", "VISTAG_HOME", "PYTHONPATH", LEASE_SECONDS)
"""What a job is told. Addresses with passwords are not: everybody who sees the cluster sees a job's variables."""
_POLL_SECONDS = 1.0
_SHOWN_CHARACTERS = 300
_MOST_NODES = 10_000

_log = logging.getLogger(__name__)


class ClusterError(RuntimeError):
    """The cluster cannot be used, or a shard failed on it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one run takes of a machine."""

    cpus: float
    gpus: float

    @classmethod
    def of(cls, tier: Tier) -> Need:
        """A GPU where the tier is for one, else a core."""
        return cls(cpus=1, gpus=1 if tier.device == "cuda" else 0)

    def fits(self, resources: Mapping[str, float]) -> int:
        """How many runs a machine with these of Ray's resources has room for."""
        rooms = [resources.get("CPU", 0) / self.cpus]
        if self.gpus:
            rooms.append(resources.get("GPU", 0) / self.gpus)
        return int(min(rooms))


@dataclass(frozen=True, slots=True)
class Shard:
    """Neighbouring partitions, which are one run."""

    first: str
    last: str
    folders: int


@dataclass
class Cluster:
    """A Ray cluster, asked at the address of its dashboard, `http://host:8265`."""

    address: str
    launcher: RayRunLauncher = field(init=False)

    def __post_init__(self) -> None:
        from dagster_ray import RayRunLauncher

        variables = [name for name in _PASSED_ON if name in os.environ]
        self.launcher = RayRunLauncher(address=self.address, env_vars=variables)

    def room_for(self, need: Need) -> int:
        """How many runs the machines that are alive hold at a time. Raises ClusterError."""
        from ray.util.state import list_nodes
        from ray.util.state.exception import RayStateApiException

        try:
            # machines that were lost count as missing output for a while
            alive = [("state", "=", "ALIVE")]
            nodes = list_nodes(
                address=self.address, filters=alive, limit=_MOST_NODES, raise_on_missing_output=False
            )
        except (ConnectionError, RayStateApiException, RuntimeError) as error:
            raise ClusterError(
                f"Ray at {self.address} does not answer ({error}): start it, or give another --ray"
            ) from error
        return sum(need.fits(node.resources_total or {}) for node in nodes)


@contextmanager
def cluster_at(address: str, home: Home) -> Iterator[Cluster]:
    """The cluster at an address, or for `local` one of this machine that ends with the block.

    Raises ClusterError where Ray is not installed, where the home has no leases that other machines know of, and for a
    number of workers that is none.
    """
    is_local, workers = _of_this_machine(address)
    try:
        import dagster_ray  # noqa: F401
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"the package {error.name} is not installed; it comes with: pip install -e '.[ray]'"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not is_local:
        if not isinstance(home.locks, Leases):
            raise ClusterError(
                f"{home.root} has locks of this machine alone, which workers on others would not see: name the database "
                'of the leases in settings.json ("leases": "postgresql://user@host/database"), docs/deploy.md'
            )
        yield Cluster(address if "://" in address else f"http://{address}")
        return
    started = ray.init(address=LOCAL, num_cpus=workers, include_dashboard=True, log_to_driver=False)
    try:
        yield Cluster(f"http://{started.dashboard_url}")
    finally:
        ray.shutdown()


def _of_this_machine(address: str) -> tuple[bool, int | None]:
    """Whether an address is `local` or `local:<workers>`, and how many; None: one a core."""
    name, _, workers = address.partition(":")
    if name != LOCAL:
        return False, None
    if workers and not (workers.isascii() and workers.isdigit() and int(workers)):
        raise ClusterError(
            f"--ray {address}: say how many workers, as in {LOCAL}:2, or {LOCAL} for one a core"
        )
    return True, int(workers) if workers else None


def shards_of(ordered: Sequence[str], wanted: Collection[str], most: int) -> list[Shard]:
    """`wanted` partitions as runs of neighbours in Dagster's order, at most so many in each."""
    shards: list[list[str]] = []
    before = None
    for place, key in enumerate(ordered):
        if key not in wanted:
            continue
        if before is None or place != before + 1 or len(shards[-1]) == most:
            shards.append([])
        shards[-1].append(key)
        before = place
    return [Shard(keys[0], keys[-1], len(keys)) for keys in shards]


def run_shards(
    instance: dg.DagsterInstance,
    cluster: Cluster,
    shards: Sequence[Shard],
    job_name: str,
    *,
    assets: Collection[dg.AssetKey],
    need: Need,
    config: Mapping[str, Any],
    tags: Mapping[str, str],
    on_progress: Callable[[int, int], None],
    deaths: int = DEATHS,
) -> list[str]:
    """Run some assets of a job for all shards, as many at a time as the cluster has room for; the runs that succeeded.

    `on_progress(done, total)` in folders. A run that fails by itself is started again, FAILURES times, which is told with
    what it said. Raises ClusterError where it then fails still, or dies too often; the others of that moment are let
    finish.
    """
    cluster.launcher.register_instance(instance)
    waiting, running = list(reversed(shards)), dict[str, Shard]()
    tries = Counter[tuple[Shard, bool]]()
    finished: list[str] = []
    failed: list[str] = []
    total, done = sum(shard.folders for shard in shards), 0
    while running or (waiting and not failed):
        on_progress(done, total)
        while waiting and not failed and len(running) < cluster.room_for(need):
            shard = waiting.pop()
            running[_launch(instance, cluster, shard, job_name, assets, need, config, tags)] = shard
        time.sleep(_POLL_SECONDS)
        for run_id, shard in list(running.items()):
            match _ended(instance, cluster, run_id):
                case None:
                    continue
                case dg.DagsterRunStatus.SUCCESS:
                    finished.append(run_id)
                    done += shard.folders
                case ended:
                    is_gone = ended is dg.DagsterRunStatus.NOT_STARTED
                    tries[shard, is_gone] += 1
                    again, most = tries[shard, is_gone], deaths if is_gone else FAILURES
                    if again > most:
                        failed.append(run_id)
                    else:
                        waiting.append(shard)
                        if not is_gone:
                            told = f"its folders are run again, {again} of {most} times"
                            _log.warning("run %s failed: %s; %s", run_id, why(instance, run_id), told)
            del running[run_id]
    if failed:
        raise ClusterError(
            f"{len(failed)} of the runs failed on the cluster, the first is {failed[0]}: {why(instance, failed[0])}. "
            "What was finished is kept; run again"
        )
    on_progress(total, total)
    return finished


def _launch(
    instance: dg.DagsterInstance,
    cluster: Cluster,
    shard: Shard,
    job_name: str,
    assets: Collection[dg.AssetKey],
    need: Need,
    config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.launcher import LaunchRunContext

    # the interpreter of this process: a job's shell may know no `dagster`, or another
    location = ReconstructableRepository.for_module(*_LOCATION)._replace(
        entry_point=[sys.executable, "-m", "dagster"]
    )
    job = location.get_reconstructable_job(job_name)
    resources = {"num_cpus": need.cpus, "num_gpus": need.gpus or None}
    run = instance.create_run_for_job(
        job_def=job.get_subset(asset_selection=set(assets)).get_definition(),
        asset_selection=frozenset(assets),
        job_code_origin=job.get_python_origin(),
        run_config=config,
        tags={**range_tags(shard.first, shard.last), **tags, _CONFIG: json.dumps(resources)},
    )
    cluster.launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def _ended(instance: dg.DagsterInstance, cluster: Cluster, run_id: str) -> dg.DagsterRunStatus | None:
    """How a run ended, None while it goes on; NOT_STARTED where its process is gone, which is told in its log."""
    from dagster._core.launcher import WorkerStatus

    run = instance.get_run_by_id(run_id)
    assert run is not None
    if run.is_finished:
        return run.status
    health = cluster.launcher.check_run_worker_health(run)
    if health.status is not WorkerStatus.FAILED:
        return None
    run = instance.get_run_by_id(run_id)
    assert run is not None
    if run.is_finished:  # meanwhile, in an order that is right
        return run.status
    # Ray sends the last of the job's output along
    gone = f"its process is gone: {one_line((health.msg or '')[:_SHOWN_CHARACTERS])}"
    _log.info("run %s: %s", run_id, gone)
    instance.report_run_failed(run, gone)
    return dg.DagsterRunStatus.NOT_STARTED


def why(instance: dg.DagsterInstance, run_id: str) -> str:
    """The first error that its log tells: of a step, or of a run that never began."""
    for record in instance.all_logs(run_id):
        # of a step, of a run and of Dagster itself: each kind of event has a class for what it tells
        told = record.dagster_event and record.dagster_event.event_specific_data
        if cause := getattr(told, "error", None):
            while cause.cause:
                cause = cause.cause
            return " ".join(cause.message.split())
    return "its process was gone each time"
