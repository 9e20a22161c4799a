"""`make bench-vlm`: what a vLLM server does for a stage of ours beside what vLLM's own benchmark gets out of it.

The bundled model on this machine's processor; the same requests, by turns that begin with the one and the other, and once
before that is not measured, so that the server has every picture in its cache. Of both the time counts from the first
request to the last answer, with what it takes to fill the server and to run it dry. Ours makes its pictures and reads its
answers in that time; vLLM's has its requests made before. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import psutil
from PIL import Image

from benchmarks.measuring import VISTAG
from benchmarks.speed.servable import save_bundled_llava
from demo.world.render import render
from demo.world.scene import SceneSampler, Split
from resources.models.checkpoints import make_model
from resources.models.encoders import prefetch
from resources.models.tiers import load_tier
from resources.models.vlms import Answer, Vlm, VlmSpec
from resources.models.vlms.answers import ENTROPY_TOP
from resources.models.vlms.png import png_of
from resources.models.vlms.prompts import CAPTION, TAGS
from vistag_assets.folder_asset import Batch, in_batches_of_images
from vistag_assets.whole_image.asking import IMAGES_AT_ONCE

PROMPTS = (CAPTION, TAGS)
TOKENS = 48
PICTURE_PX = 320
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Speed:
    requests_per_second: float
    tokens_per_second: float
    """written by the model"""


@dataclass(frozen=True, slots=True)
class Load:
    """Of a server during one turn."""

    in_flight: float
    """requests that it had, on average"""
    server_ms: float
    """seconds of the processors of all its processes, in milliseconds a request"""


class Server:
    """What `vistag serve` runs, looked at from outside."""

    def __init__(self, spec: VlmSpec, watcher: subprocess.Popen[str]) -> None:
        self.spec = spec
        self._processes = psutil.Process(watcher.pid).children(recursive=True)

    def during(self, turn: Callable[[], Speed], count: int) -> tuple[Speed, Load]:
        latency_s, processor_s = self._latency_s(), self._processor_s()
        speed = turn()
        under_way_s = self._latency_s() - latency_s
        used_s = self._processor_s() - processor_s
        return speed, Load(under_way_s * speed.requests_per_second / count, 1e3 * used_s / count)

    def _processor_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)

    def _latency_s(self) -> float:
        """Of all requests since it was started, one after the other."""
        url = f"{self.spec.server.url.removesuffix('/v1')}/metrics"
        with build_opener(ProxyHandler({})).open(url, timeout=60) as metrics:
            sums = re.findall(
                r"^vllm:e2e_request_latency_seconds_sum\{.*\} (\S+)$", metrics.read().decode(), re.M
            )
        return sum(map(float, sums))


@contextmanager
def serving(directory: Path, concurrency: int) -> Iterator[Server]:
    """The bundled model behind `vistag serve`, for as long as this is open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = {
        "port": port,
        "concurrency": concurrency,
        "max_model_len": 1024,
        "gpu_memory_share": 0.1,  # of the machine's memory
        "extra_args": ["--enforce-eager"],
    }
    vlm = {"model": str(save_bundled_llava(directory / "model")), "licence": "own", "engine": "openai"}
    encoder = load_tier("demo").encoder.model_dump()
    tier = directory / "tier.yaml"
    tier.write_text(
        json.dumps(
            {"description": "bench", "device": "cpu", "encoder": encoder, "vlm": {**vlm, "server": server}}
        )
    )
    process = subprocess.Popen(
        [*VISTAG, "serve", "--tier", str(tier), "--home", str(directory / "home")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TORCHDYNAMO_DISABLE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = []
        for line in process.stdout or ():
            told.append(line)
            if "answers at" in line:
                break
        else:
            raise SystemExit(f"vLLM did not start: {''.join(told)}")
        spec = load_tier(str(tier)).vlm
        assert spec is not None
        yield Server(spec, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ours(vlm: Vlm, folders: Sequence[Sequence[Image.Image]]) -> Speed:
    """Both questions of each picture, in batches and folders that overlap as those of a stage do."""
    at_once = vlm.spec.batches_at_once
    tokens: list[int] = []

    def ask(names: list[str], images: list[Image.Image]) -> Batch:
        shown = [image for image in images for _ in PROMPTS]
        for answer in vlm.answer(shown, [*PROMPTS] * len(images), max_tokens=TOKENS):
            if not isinstance(answer, Answer):
                raise SystemExit(f"the server did not answer: {answer.reason}")
            tokens.append(len(answer.tokens) + answer.finished)
        return Batch(names, ())

    def work(folder: Sequence[Image.Image]) -> int:
        names = [str(number) for number in range(len(folder))]
        compute = in_batches_of_images(IMAGES_AT_ONCE, lambda name: folder[int(name)], ask, at_once)
        return sum(len(batch.ids) for batch in compute(names))

    started = time.perf_counter()
    for _ in prefetch(folders, work, workers=at_once, depth=at_once):
        pass
    seconds = time.perf_counter() - started
    return Speed(len(tokens) / seconds, sum(tokens) / seconds)


def theirs(spec: VlmSpec, requests: Path, count: int, vllm: Path) -> Speed:
    """`vllm bench serve` of the same requests, as many at a time."""
    result = requests.with_name("result.json")
    asked = {"logprobs": True, "top_logprobs": ENTROPY_TOP}
    command = [
        *(str(vllm), "bench", "serve", "--backend", "openai-chat", "--endpoint", "/v1/chat/completions"),
        *("--base-url", spec.server.url.removesuffix("/v1"), "--model", spec.model),
        *("--served-model-name", spec.served_name, "--dataset-name", "custom_image"),
        *(
            "--dataset-path",
            str(requests),
            "--num-prompts",
            str(count),
            "--disable-shuffle",
            "--no-oversample",
        ),
        *("--custom-output-len", str(TOKENS), "--max-concurrency", str(spec.server.concurrency)),
        *("--temperature", "0", "--extra-body", json.dumps(asked), "--disable-tqdm"),
        *("--num-warmups", "0", "--ready-check-timeout-sec", "0"),
        *("--save-result", "--result-dir", str(result.parent), "--result-filename", result.name),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode or not result.is_file():
        raise SystemExit(f"vllm bench serve failed: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(result.read_text())
    if told["completed"] != count:
        raise SystemExit(f"vllm bench serve got {told['completed']} answers of {count}")
    return Speed(told["request_throughput"], told["output_throughput"])


def write_requests(path: Path, images: Sequence[Image.Image]) -> int:
    """The same pictures, to the byte, and questions as vLLM's benchmark reads them, in the order in which ours are asked."""
    with path.open("w") as file:
        for image in images:
            url = f"data:image/png;base64,{base64.b64encode(png_of(image, packed=False)).decode()}"
            for prompt in PROMPTS:
                parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": prompt}]
                file.write(json.dumps({"content": parts}) + "\n")
    return len(images) * len(PROMPTS)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.vlm", description=__doc__)
    parser.add_argument("--images", type=int, default=192, help="each is asked two questions")
    parser.add_argument("--folders", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16, help="requests at a time")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--vllm", type=Path, default=ROOT / ".venv-vllm" / "bin" / "vllm")
    options = parser.parse_args(arguments)
    os.environ["VISTAG_VLLM"] = str(options.vllm)
    sampler = SceneSampler(Split.VALIDATE)
    images = [
        Image.fromarray(render(sampler.scene(number), PICTURE_PX).pixels) for number in range(options.images)
    ]
    folders = [images[number :: options.folders] for number in range(options.folders)]
    images = [image for folder in folders for image in folder]
    with tempfile.TemporaryDirectory(prefix="vistag-bench-") as directory:
        requests = Path(directory) / "requests.jsonl"
        count = write_requests(requests, images)
        with serving(Path(directory), options.concurrency) as server:
            vlm = make_model(server.spec, "cpu")
            sides = {
                "vllm_bench": lambda: theirs(server.spec, requests, count, options.vllm),
                "vistag": lambda: ours(vlm, folders),
            }
            ours(vlm, folders)
            turns = []
            for number in range(options.turns):
                order = [*sides] if number % 2 else [*reversed(sides)]
                turns.append({name: server.during(sides[name], count) for name in order})
                print(f"turn {number + 1}: {turns[-1]}", flush=True)
    print(json.dumps(summed_up(turns)))


def summed_up(turns: Sequence[Mapping[str, tuple[Speed, Load]]]) -> dict[str, Any]:
    """The middle of the turns, and of the ratios of each turn."""
    ratios = sorted(
        turn["vistag"][0].requests_per_second / turn["vllm_bench"][0].requests_per_second for turn in turns
    )
    told: dict[str, Any] = {
        name: {
            "requests_per_second": statistics.median(turn[name][0].requests_per_second for turn in turns),
            "in_flight": statistics.median(turn[name][1].in_flight for turn in turns),
            "server_ms_per_request": statistics.median(turn[name][1].server_ms for turn in turns),
        }
        for name in ("vllm_bench", "vistag")
    }
    return told | {"ratio": statistics.median(ratios), "ratios": ratios}


if __name__ == "__main__":
    main()
