"""Each run has a GPU of its own: real locks of real processes, with names of cards that no driver is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from resources.gpus import MODELS_POOL, card_of_its_own, free_card
from resources.home import Home, Settings, write_settings
from resources.workspace import VistagResource

_HOLD = (
    "import sys, time; from pathlib import Path; from resources.gpus import free_card\n"
    "with free_card(Path(sys.argv[1]), sys.argv[2:]) as card:\n    print(card, flush=True); time.sleep(600)"
)


def hold(directory: Path, *cards: str) -> subprocess.Popen[str]:
    """A process that asks for a card, says which it got and keeps it."""
    command = [sys.executable, "-c", _HOLD, str(directory), *cards]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_processes_get_different_cards_and_the_last_waits_for_one_that_dies(tmp_path: Path) -> None:
    first, second = hold(tmp_path, "0", "1"), None
    try:
        assert said(first) == "0"
        with free_card(tmp_path, ["0", "1"]) as card:
            assert card == "1"
            second = hold(tmp_path, "0", "1")
            first.kill()
            assert said(second) == "0"
        with free_card(tmp_path, ["0", "1"]) as card:
            assert card == "1"
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.wait()


def test_a_process_sees_its_card_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-7f")
    with free_card(tmp_path, ["3"]), card_of_its_own(tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7f"
    with card_of_its_own(tmp_path):  # the process cannot have another one any more
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7f"


def test_a_machine_without_a_card_waits_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with card_of_its_own(tmp_path / "cards"):
        assert not (tmp_path / "cards").exists()


@pytest.mark.parametrize(
    ("device", "pool", "card"),
    [("cuda", MODELS_POOL, "5"), ("cpu", MODELS_POOL, "4,5"), ("cuda", None, "4,5")],
)
def test_a_run_with_models_of_a_tier_for_gpus_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, pool: str | None, card: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    home = Home(tmp_path / "home")
    encoder = {"family": "siglip", "model": "/nowhere", "licence": "own"}
    tier = {"description": "tiny", "device": device, "encoder": encoder, "vram_gib": 24}
    (tmp_path / "tier.yaml").write_text(json.dumps(tier))
    write_settings(home, Settings(tier=str(tmp_path / "tier.yaml")))
    seen = []

    @dg.op(pool=pool)
    def look(vistag: VistagResource) -> None:
        assert vistag.open() is vistag.open()
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])

    @dg.job(
        resource_defs={"vistag": VistagResource(home=str(home.root))}, executor_def=dg.in_process_executor
    )
    def job() -> None:
        look()

    with free_card(home.root / "cards", ["4"]), dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
        assert not any((Path(instance.root_directory) / "running").iterdir())
    assert seen == [card]
