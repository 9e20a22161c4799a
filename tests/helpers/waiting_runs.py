"""A code location for the tests of the queue: runs that tell their process, and wait to be let go.

The folder $WAITING_RUNS holds `NAME.ask` (which job to run under that name), and `NAME.go` when the run may end; a run writes
the id of its process to `NAME.pid`.
"""

import os
import time
from pathlib import Path

import dagster as dg

from resources.gpus import MODELS_POOL
from resources.workspace import VistagResource

FOLDER = Path(os.environ["WAITING_RUNS"])


def wait(context: dg.OpExecutionContext) -> None:
    name = context.run.tags["name"]
    (FOLDER / f"{name}.pid").write_text(str(os.getpid()))
    while not (FOLDER / f"{name}.go").exists():
        time.sleep(0.1)


@dg.op(pool=MODELS_POOL)
def wait_with_models(context: dg.OpExecutionContext, vistag: VistagResource) -> None:
    wait(context)


@dg.op
def wait_without_models(context: dg.OpExecutionContext, vistag: VistagResource) -> None:
    wait(context)


@dg.job
def with_models() -> None:
    wait_with_models()


@dg.job
def without_models() -> None:
    wait_without_models()


@dg.sensor(
    jobs=[with_models, without_models],
    minimum_interval_seconds=2,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def asked() -> list[dg.RunRequest]:
    return [
        dg.RunRequest(job_name=path.read_text(), run_key=path.stem, tags={"name": path.stem})
        for path in sorted(FOLDER.glob("*.ask"))
    ]


defs = dg.Definitions(
    jobs=[with_models, without_models],
    sensors=[asked],
    resources={"vistag": VistagResource()},
    executor=dg.in_process_executor,
)
