"""The command line: its errors in this process, its work in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from vistag_assets.automation.instance import TEMPLATE
from vistag_assets.cli import app

VISTAG = str(Path(sys.executable).parent / "vistag")


def fails(*arguments: object) -> str:
    """What a failing command says, on one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    return " ".join(result.output.split())


@pytest.fixture
def tier(tmp_path: Path) -> Path:
    encoder = {"family": "siglip", "model": str(save_tiny_siglip(tmp_path / "tiny")), "licence": "own"}
    path = tmp_path / "tiny.yaml"
    path.write_text(
        json.dumps({"description": "tiny", "device": "cpu", "encoder": encoder, "caveat": "Nonsense."})
    )
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"[{number}]\n.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from vistag_assets.cli import app\n"
        "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0\n"
        "sys.exit(', '.join(sorted({'torch', 'dagster', 'duckdb', 'pyarrow'} & set(sys.modules))) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "is not a folder" in fails("run", tmp_path / "missing", "--home", tmp_path / "home")


def test_a_folder_without_images_is_said(tmp_path: Path, tier: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = fails("run", tmp_path / "empty", "--tier", tier, "--home", tmp_path / "home")
    assert "There are no images in" in message


def test_an_unknown_tier_is_refused_before_anything_is_written(tmp_path: Path, library: Path) -> None:
    message = fails("run", library, "--tier", "huge", "--home", tmp_path / "home")
    assert "no tier 'huge'" in message
    assert "gpu-24gb" in message
    assert not (tmp_path / "home").exists()


def test_a_bad_taxonomy_is_refused_with_its_line(tmp_path: Path, library: Path, tier: Path) -> None:
    vocabulary = tmp_path / "vocabulary.csv"
    vocabulary.write_text("id,pref_label,alt_labels,facet,broader,definition\na,a,,object,nobody,\n")
    arguments = ("run", library, "--tier", tier, "--taxonomy", vocabulary, "--home", tmp_path / "home")
    strict = ("taxonomy", "check", vocabulary, "--strict")
    assert re.search(r"vocabulary\.csv:2: .*nobody", fails(*strict).replace(" vocabulary", "vocabulary"))
    vocabulary.write_text("id,hue\na,red\n")
    assert "vocabulary.csv:1" in fails(*arguments).replace(" ", "")
    assert not (tmp_path / "home" / "lake").exists()


def test_a_bad_ground_truth_is_refused_before_any_work(tmp_path: Path, library: Path, tier: Path) -> None:
    truth = tmp_path / "truth.json"
    truth.write_text("[]")
    home = tmp_path / "home"
    assert "truth.json" in fails("run", library, "--tier", tier, "--ground-truth", truth, "--home", home)
    assert not (home / "lake").exists()


def test_no_report_says_how_to_make_one(tmp_path: Path) -> None:
    assert "vistag demo" in fails("report", "--json", "--home", tmp_path)


def test_bad_sql_lists_the_tables(tmp_path: Path) -> None:
    assert "none yet" in fails("sql", "select * from images", "--home", tmp_path)


def test_taxonomy_stats_count_the_starter_vocabulary() -> None:
    result = CliRunner().invoke(app, ["taxonomy", "stats"])
    assert result.exit_code == 0
    assert "material" in result.output


@pytest.mark.slow
def test_run_then_run_again_then_evaluate(tmp_path: Path, library: Path, tier: Path) -> None:
    home = tmp_path / "home"

    def vistag(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [VISTAG, *map(str, arguments), "--home", str(home)]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)

    first = vistag("run", library, "--tier", tier)
    assert "3 images went through the encoder" in first.stdout
    assert "Nonsense." in first.stdout
    assert "1 of the files could not be used" in first.stdout
    assert "Traceback" not in first.stderr
    assert "nanobind" not in first.stderr

    again = vistag("run", library)  # the home remembers the tier
    assert "Nothing new: 3 images unchanged, no image was sent to a model." in again.stdout

    counted = vistag("sql", "select count(*) as images from images")
    assert "3" in counted.stdout

    truth = {
        "images": [{"id": 1, "file_name": "[0]\n.png"}, {"id": 2, "file_name": "[1]\n.png"}],
        "categories": [{"id": 1, "name": "bronze"}, {"id": 2, "name": "oak"}],
        "annotations": [],
        "image_tags": [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 2}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    vistag("run", library, "--ground-truth", tmp_path / "truth.json")
    figures = json.loads(vistag("report", "--json").stdout)
    assert figures["images"] == 2
    assert figures["tag_recall"]["overall"]["10"]["support"] == 2
    last_line = vistag("report").stdout.splitlines()[-1]
    assert last_line == str(home / "reports" / "long_tail.html")


@pytest.mark.slow
def test_dev_serves_the_assets_and_leaves_no_process(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "home" / "dagster" / "dagster.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(TEMPLATE.read_text().replace("poll_interval_seconds", "cancel_timeout_seconds"))
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [VISTAG, "dev", "--home", str(tmp_path / "home"), "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: f"Dagster on {tmp_path / 'home'}: http://127.0.0.1:{port}" in log.read_text())
        wait_for(lambda: "tag_scores" in served_assets(port))  # the code location is loaded after the start
        children = children_of(process.pid)
        assert len(children) >= 2
        assert listening_addresses(process.pid, *children) == {"127.0.0.1"}
        assert readable_by_others(tmp_path / "home") == set()
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(120)
    assert process.returncode == 130
    told = log.read_text()
    assert told.endswith("Stopped. What was finished is kept; the next run goes on from there.\n")
    assert "Traceback" not in told
    assert "supersede" not in told
    hint = f"{settings} lacks settings that new homes have: run_monitoring.poll_interval_seconds."
    assert hint in log.read_text()
    wait_for(lambda: not any(alive(child) for child in children))


def readable_by_others(home: Path) -> set[Path]:
    return {path for path in (home, *home.rglob("*")) if path.exists() and path.stat().st_mode & 0o077}


def served_assets(port: int) -> set[str]:
    question = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", question, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return {node["assetKey"]["path"][0] for node in json.load(answer)["data"]["assetNodes"]}


def wait_for(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def children_of(process: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process).children(recursive=True)]


def listening_addresses(*processes: int) -> set[str]:
    import psutil

    sockets = [found for process in processes for found in psutil.Process(process).net_connections("inet")]
    return {found.laddr.ip for found in sockets if found.status == psutil.CONN_LISTEN}


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "options",
    [["--host", "0.0.0.0"], ["--host", "::"], ["--host", "192.0.2.1"], ["--allow-host", "photos.example"]],
)
def test_a_web_server_that_others_reach_wants_a_token(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("", "short"):
        monkeypatch.setenv("VISTAG_WEB_TOKEN", token)
        told = fails("web", "--home", tmp_path, "--port", 1, *options)
        assert "set VISTAG_WEB_TOKEN to a word of at least 16 letters" in told
