"""The code location: it loads quickly, without torch, and says what everything is."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import services
import yaml

from resources.gpus import MODELS_POOL
from vistag_assets.automation.dev import CODE_LOCATION
from vistag_assets.automation.instance import contiguous_ranges, missing_settings, prepare_dagster_home
from vistag_assets.automation.storage import StorageError
from vistag_assets.definitions import defs
from vistag_assets.partitions import EVALUATION_POOL

PER_FOLDER = {
    "familiarity",
    "images",
    "rejects",
    "proxies",
    "global_embeddings",
    "tag_scores",
    "ocr_text",
    "tagger_scores",
    "depth_maps",
    "routing",
    "candidates",
    "grounded_regions",
    "region_masks",
    "region_embeddings",
    "region_matches",
    "region_captions",
    "captions",
    "descriptions",
    "tags",
    "flags",
}
LOADS_A_MODEL = {
    "concept_embeddings",
    "global_embeddings",
    "ocr_text",
    "tagger_scores",
    "depth_maps",
    "grounded_regions",
    "region_masks",
    "region_embeddings",
    "region_captions",
    "captions",
    "descriptions",
}
WHOLE = {
    "contact_sheet",
    "review_queue",
    "image_index",
    "region_index",
    "near_duplicates",
    "concept_embeddings",
    "ground_truth",
    "ground_truth_images",
    "ground_truth_regions",
    "ground_truth_concepts",
    "frequency_bands",
    "tag_recall",
    "tag_figures",
    "tag_ranks",
    "tag_confusions",
    "text_figures",
    "grounding_recall",
    "phrase_grounding",
    "evaluation_history",
    "ladder",
    "long_tail_report",
}
EXPORTED_PER_FOLDER = {"export_xmp", "export_voc", "export_iiif"}
EXPORTED_WHOLE = {
    "export_coco",
    "export_csv",
    "export_cvat",
    "export_fiftyone",
    "export_hf",
    "export_label_studio",
    "export_lora",
    "export_lvis",
    "export_skos",
    "export_webdataset",
    "export_yolo",
}
EXPORTED = EXPORTED_PER_FOLDER | EXPORTED_WHOLE


def test_loading_the_code_location_imports_no_torch() -> None:
    code = (
        "import sys, vistag_assets.definitions as d; d.defs.resolve_asset_graph(); "
        "sys.exit(', '.join(sorted({'torch', 'transformers', 'open_clip'} & set(sys.modules))) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_workspace_file_loads_the_module_that_the_command_line_runs() -> None:
    workspace = yaml.safe_load((services.ROOT / "workspace.yaml").read_text())
    assert workspace == {"load_from": [{"python_module": CODE_LOCATION}]}


def dg_says(home: Path, *arguments: str) -> str:
    """What Dagster's own command says of this project, on the instance of a home."""
    command = [str(Path(sys.executable).parent / "dg"), *arguments]
    environment = services.environment(**prepare_dagster_home(home))
    return subprocess.run(
        command, cwd=services.ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_dg_finds_the_definitions_sound(tmp_path: Path) -> None:
    assert "All definitions loaded successfully" in dg_says(tmp_path, "check", "defs")


def test_dg_dev_names_the_code_location_as_vistag_dev_does() -> None:
    # under another name a home's sensors would have forgotten what they have seen
    project = tomllib.loads((services.ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert project["code_location_name"] == project["code_location_target_module"] == CODE_LOCATION


@pytest.mark.slow
def test_dg_lists_every_asset(tmp_path: Path) -> None:
    listed = json.loads(dg_says(tmp_path, "list", "defs", "--json"))["assets"]
    assert {asset["asset_key"] for asset in listed} == PER_FOLDER | WHOLE | EXPORTED


def test_assets_are_partitioned_by_folder_up_to_the_tags_and_whole_after() -> None:
    graph = defs.resolve_asset_graph()
    partitioned = {
        key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned
    }
    assert partitioned == PER_FOLDER | EXPORTED_PER_FOLDER
    made = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert made == PER_FOLDER | WHOLE | EXPORTED


def test_every_asset_is_described() -> None:
    made = {key for assets in defs.assets or () for key in assets.keys}  # type: ignore[union-attr]
    for spec in defs.resolve_all_asset_specs():
        if spec.key not in made:
            continue
        assert spec.description, spec.key
        assert spec.kinds, spec.key
        assert spec.owners, spec.key
        assert spec.code_version, spec.key
        assert spec.group_name != "default", spec.key


@pytest.mark.parametrize("name", ["tag_folders", "everything"])
def test_a_job_of_folders_takes_them_all_in_one_run(name: str) -> None:
    policy = defs.resolve_job_def(name).backfill_policy
    assert policy is not None
    assert policy.policy_type.value == dg.BackfillPolicy.single_run().policy_type.value


@pytest.mark.parametrize("name", ["tag_folders", "everything", "evaluate", "gather_evidence"])
def test_no_run_writes_exports_that_nobody_asked_for(name: str) -> None:
    keys = defs.resolve_job_def(name).asset_layer.executable_asset_keys
    assert not {key.to_user_string() for key in keys} & EXPORTED
    exported = defs.resolve_job_def("export").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in exported} == EXPORTED


def test_an_export_hangs_on_the_tables_that_it_reads_and_no_others() -> None:
    graph = defs.resolve_asset_graph()
    of_skos = graph.get(dg.AssetKey("export_skos")).parent_keys
    assert {key.to_user_string() for key in of_skos} == {"images", "tags", "captions", "descriptions"}


def test_what_loads_models_takes_turns_and_evaluations_do_too() -> None:
    graph = defs.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.materializable_asset_keys}
    assert {asset for asset, named in pools.items() if named == {MODELS_POOL}} == LOADS_A_MODEL
    evaluated = graph.asset_keys_for_group("evaluation")
    assert {asset for asset, named in pools.items() if named == {EVALUATION_POOL}} == {
        key.to_user_string() for key in evaluated
    }
    assert all(len(named) < 2 for named in pools.values())


def test_the_report_alone_has_to_be_fresh() -> None:
    # a policy judges an asset and not its partitions
    policies = {spec.key.to_user_string(): spec.freshness_policy for spec in defs.resolve_all_asset_specs()}
    assert {asset for asset, policy in policies.items() if policy} == {"long_tail_report"}


def test_schedules_are_off_and_sensors_on() -> None:
    assert {schedule.default_status.value for schedule in defs.schedules or ()} == {"STOPPED"}  # type: ignore[union-attr]
    assert {sensor.default_status.value for sensor in defs.sensors or ()} == {"RUNNING"}


def test_contiguous_ranges_cover_exactly_what_is_wanted() -> None:
    ordered = ["d", "a", "c", "b", "e"]
    assert contiguous_ranges(ordered, ["a", "c", "e"]) == [("a", "c"), ("e", "e")]
    assert contiguous_ranges(ordered, sorted(ordered)) == [("d", "e")]
    assert contiguous_ranges(ordered, []) == []
    assert contiguous_ranges(ordered, ["d", "b"], {"a", "c"}, longest_bridge=2) == [("d", "b")]
    assert contiguous_ranges(ordered, ["d", "b"], {"a", "c"}, longest_bridge=1) == [("d", "d"), ("b", "b")]
    assert contiguous_ranges(ordered, ["d", "b"], {"a"}, longest_bridge=2) == [("d", "d"), ("b", "b")]
    with pytest.raises(ValueError, match="not among the partitions: x"):
        contiguous_ranges(ordered, ["a", "x"])


def test_the_databases_of_a_home_are_made_before_several_processes_use_them(tmp_path: Path) -> None:
    # the web server and the daemon, started together on a fresh home, would both make them
    prepare_dagster_home(tmp_path)
    databases = {path.relative_to(tmp_path / "dagster").as_posix() for path in tmp_path.rglob("*.db")}
    assert {"history/runs.db", "history/runs/index.db", "schedules/schedules.db"} <= databases
    assert "telemetry" in (tmp_path / "dagster" / "dagster.yaml").read_text()


def test_a_home_with_older_settings_is_told_what_it_lacks(tmp_path: Path) -> None:
    assert missing_settings(tmp_path) == []
    prepare_dagster_home(tmp_path)
    assert missing_settings(tmp_path) == []
    settings = tmp_path / "dagster" / "dagster.yaml"
    older = yaml.safe_load(settings.read_text())
    del older["run_monitoring"], older["concurrency"]["pools"]
    older["own"] = {"setting": 1}
    settings.write_text(yaml.safe_dump(older))
    assert missing_settings(tmp_path) == [
        "concurrency.pools.granularity",
        "concurrency.pools.default_limit",
        "run_monitoring.enabled",
        "run_monitoring.poll_interval_seconds",
    ]
    settings.write_text("just words")
    with pytest.raises(StorageError, match=r"dagster\.yaml: holds no settings"):
        missing_settings(tmp_path)


def test_pools_have_their_limits_before_the_first_run_and_keep_a_persons(tmp_path: Path) -> None:
    # Dagster would let all runs pass that are queued when it first meets a pool
    for limits in ({MODELS_POOL: 1, EVALUATION_POOL: 1}, {MODELS_POOL: 2, EVALUATION_POOL: 1}):
        dagster_home = prepare_dagster_home(tmp_path)["DAGSTER_HOME"]
        with dg.DagsterInstance.from_config(dagster_home) as instance:
            storage = instance.event_log_storage
            assert {pool.name: pool.limit for pool in storage.get_pool_limits()} == limits
            storage.set_concurrency_slots(MODELS_POOL, 2)
