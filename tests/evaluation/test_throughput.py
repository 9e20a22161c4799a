"""How fast stages were, of what their materialisations say."""

import dagster as dg
import pytest

from evaluation.throughput import measured_throughput


def made(instance: dg.DagsterInstance, **metadata: float | str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("captions", metadata=metadata))


def test_a_stage_of_minutes_an_image_has_a_speed_and_folders_are_added_up() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        made(instance, computed=10, seconds=900.0, images_per_second=0.0, device="cpu")
        made(instance, computed=2, seconds=300.0, images_per_second=0.00667, device="cpu")
        made(instance, computed=0, device="cpu")
        assert measured_throughput(instance)["captions"].images_per_second == pytest.approx(0.01)


def test_a_stage_that_nobody_measured_has_none() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        made(instance, computed=0, device="cpu")
        assert measured_throughput(instance) == {}
