"""deploy/ for Ray, Kubernetes and Slurm: held to schemas, to each other, and to the tiers and the command line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml
from services import ROOT

from resources.home.settings import LEASES_URL
from resources.models.tiers import load_tier, tier_names
from vistag_assets.automation.cluster import Need
from vistag_assets.cli import app

DEPLOY = ROOT / "deploy"
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "required": ["limits", "requests"],
    "properties": {
        side: {
            "type": "object",
            "additionalProperties": False,
            "required": ["cpu", "memory"],
            "properties": {"cpu": QUANTITY, "memory": QUANTITY, "nvidia.com/gpu": QUANTITY},
        }
        for side in ("limits", "requests")
    },
}
TOLERATIONS = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["key", "operator"],
        "properties": {
            "key": {"type": "string"},
            "operator": {"enum": ["Exists", "Equal"]},
            "value": {"type": "string"},
            "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        },
    },
}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NAMED = {"type": "array", "items": {"type": "object", "required": ["name"]}}
POD = {
    "rayStartParams": TEXTS,
    "containerEnv": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "value"],
            "properties": {"name": {"pattern": "^[A-Z_]+$"}, "value": {"type": "string"}},
        },
    },
    "envFrom": {"type": "array", "items": {"type": "object", "required": ["secretRef"]}},
    "resources": RESOURCES,
    "volumes": NAMED,
    "volumeMounts": {"type": "array", "items": {"type": "object", "required": ["name", "mountPath"]}},
    "nodeSelector": TEXTS,
    "tolerations": TOLERATIONS,
}
GROUP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["replicas", "minReplicas", "maxReplicas", "rayStartParams", "resources"],
    "properties": {
        **POD,
        "disabled": {"type": "boolean"},
        **{name: {"type": "integer", "minimum": 0} for name in ("replicas", "minReplicas", "maxReplicas")},
    },
}
RAY_CLUSTER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "head", "worker", "additionalWorkerGroups"],
    "properties": {
        "image": {"type": "object", "required": ["repository", "tag"]},
        "head": {
            "type": "object",
            "additionalProperties": False,
            "required": ["rayStartParams", "resources"],
            "properties": {
                **POD,
                "rayVersion": {"type": "string"},
                "enableInTreeAutoscaling": {"type": "boolean"},
            },
        },
        "worker": {"type": "object"},
        "additionalWorkerGroups": {"type": "object", "additionalProperties": GROUP},
    },
}
RUN_TAG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["container_config"],
    "properties": {
        "container_config": {
            "type": "object",
            "additionalProperties": False,
            "required": ["resources"],
            "properties": {"resources": RESOURCES},
        },
        "pod_spec_config": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"node_selector": TEXTS, "tolerations": TOLERATIONS},
        },
    },
}


def settings(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def cards(resources: Any) -> set[str | None]:
    return {resources[side].get("nvidia.com/gpu") for side in ("limits", "requests")}


def test_a_group_of_workers_is_what_one_run_takes() -> None:
    values = settings("kubernetes/ray-cluster-values.yaml")
    jsonschema.validate(values, RAY_CLUSTER)
    assert values["head"]["rayStartParams"]["num-cpus"] == "0"  # no run where the cluster is kept
    assert values["worker"] == {"disabled": True}
    for name, group in values["additionalWorkerGroups"].items():
        need = Need.of(load_tier(name))
        assert cards(group["resources"]) == {str(need.gpus) if need.gpus else None}
        assert int(group["resources"]["limits"]["cpu"]) >= need.cpus
        mounted = {mount["name"] for mount in group["volumeMounts"]}
        assert mounted == {volume["name"] for volume in group["volumes"]} == {"home", "library"}
        homes = {variable["name"]: variable["value"] for variable in group["containerEnv"]}
        assert homes["DAGSTER_HOME"] == homes["VISTAG_HOME"] + "/dagster"


def test_every_tier_says_what_a_pod_of_its_run_takes() -> None:
    tags = settings("kubernetes/run-tags.yaml")
    assert tags.keys() == set(tier_names())
    for name, tag in tags.items():
        jsonschema.validate(tag, RUN_TAG)
        need = Need.of(load_tier(name))
        assert cards(tag["container_config"]["resources"]) == {str(need.gpus) if need.gpus else None}


@pytest.mark.ray
def test_the_tags_are_what_dagster_k8s_takes() -> None:
    from dagster_k8s.job import UserDefinedDagsterK8sConfig

    for tag in settings("kubernetes/run-tags.yaml").values():
        taken = UserDefinedDagsterK8sConfig.from_dict(tag)
        assert taken.container_config["resources"] == tag["container_config"]["resources"]


@pytest.mark.ray
def test_the_instance_of_a_ray_cluster_is_what_dagster_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._core.instance import DagsterInstance

    for name in ("HOST", "DATABASE", "USER", "PASSWORD"):
        monkeypatch.setenv(f"VISTAG_PG_{name}", "x")
    monkeypatch.setenv("VISTAG_PG_PORT", "5432")
    monkeypatch.setenv("VISTAG_RAY_ADDRESS", "http://head:8265")
    config = yaml.safe_load((DEPLOY / "dagster-ray.yaml").read_text())
    del config["storage"]  # which would be asked
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        launcher = instance.run_launcher
        assert (type(launcher).__name__, launcher.address) == ("RayRunLauncher", "http://head:8265")  # type: ignore[attr-defined]


def test_what_runs_on_ray_is_stored_as_with_postgresql_alone() -> None:
    assert settings("dagster-ray.yaml")["storage"] == settings("dagster-postgres.yaml")["storage"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_slurm_script_is_bash_and_calls_the_command_line_as_it_is() -> None:
    script = DEPLOY / "slurm" / "vistag.sbatch"
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    text = script.read_text()
    assert LEASES_URL in text
    called = shlex.split(next(line for line in text.splitlines() if '/vistag" run' in line))
    known = {
        name for parameter in typer.main.get_command(app).commands["run"].params for name in parameter.opts
    }  # type: ignore[attr-defined]
    options = [word for word in called if word.startswith("--")]
    assert options
    assert set(options) <= known
    asked = re.findall(r"^#SBATCH (--[a-z-]+)(?:=(\S+))?$", text, re.MULTILINE)
    assert {"--ntasks-per-node", "--cpus-per-task", "--mem", "--time", "--requeue"} <= {
        name for name, _ in asked
    }


def test_a_slurm_script_without_its_arguments_says_which() -> None:
    done = subprocess.run(["bash", str(DEPLOY / "slurm" / "vistag.sbatch")], capture_output=True, text=True)
    assert done.returncode != 0
    assert "give the folder of the pictures" in done.stderr
