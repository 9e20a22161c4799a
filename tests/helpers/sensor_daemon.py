"""Ticks of a sensor, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import dagster as dg

from resources.home import Home
from resources.workspace import VistagResource
from vistag_assets.definitions import defs


@dataclass
class Daemon:
    """Ticks as Dagster's daemon makes them: the cursor is kept, and a run key is never run twice."""

    home: Home
    instance: dg.DagsterInstance
    sensor: dg.SensorDefinition
    cursor: str | None = None
    run_keys: set[str] = field(default_factory=set)
    skipped: str = ""

    @property
    def version(self) -> str:
        """The file that the cursor names, behind what the look saw."""
        return (self.cursor or "").rpartition(" ")[2]

    def tick(self) -> list[dg.RunRequest]:
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"vistag": VistagResource(home=str(self.home.root))},
            definitions=defs,
        ) as context:
            data = self.sensor.evaluate_tick(context)
        self.cursor, self.skipped = data.cursor, data.skip_message or ""
        requests = [request for request in data.run_requests or [] if request.run_key not in self.run_keys]
        self.run_keys |= {request.run_key for request in requests if request.run_key}
        return requests

    def ticks(self, count: int) -> list[dg.RunRequest]:
        return [request for _ in range(count) for request in self.tick()]
