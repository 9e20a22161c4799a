"""A model of the class of Qwen3-VL with random weights, served by vLLM on the card with the flags of a tier."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.gpu_check.checks import Check, Failed, Figures, Skipped
from resources.models.checkpoints import make_model
from resources.models.tiers import load_tier
from resources.models.vlms import Answer, VlmSpec
from resources.models.vlms.server import NoServerError, vllm_program
from vistag_assets.cli.serve import serve

sys.path.append(
    str(Path(__file__).parents[2] / "tests" / "helpers" / "models")
)  # where the tests' checkpoints are made

TIER = "gpu-24gb"
TOKENS, ASKED = 64, 32


def serving_checks(device: str) -> Iterator[Check]:
    yield Check(
        "captions by vLLM", f"a random Qwen3-VL with the flags of {TIER}", lambda: _served(device), 150
    )


def served_spec(checkpoint: Path, port: int) -> VlmSpec:
    """The VLM of the tier, with the weights of a checkpoint."""
    tier = load_tier(TIER)
    assert tier.vlm
    server = tier.vlm.server.model_copy(update={"port": port})
    return tier.vlm.model_copy(
        update={
            "model": str(checkpoint), "revision": None, "licence": "own", "server": server,
            "caption_tokens": TOKENS,
        }
    )  # fmt: skip


def _served(device: str) -> Figures:
    if device == "cpu":
        raise Skipped("no GPU; `make test-vllm` serves on the processor")
    try:
        vllm_program()
    except NoServerError as error:
        raise Skipped(str(error)) from error
    from servable_checkpoints import save_random_qwen3_vl

    with TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        spec = served_spec(save_random_qwen3_vl(Path(folder) / "checkpoint", large=True), port)
        figures: dict[str, float] = {}
        started_s = time.perf_counter()

        def ask() -> bool:
            figures["start_s"] = time.perf_counter() - started_s
            asked_s = time.perf_counter()
            images = [Image.new("RGB", (448, 448), (shade, 120, 80)) for shade in range(ASKED)]
            told = make_model(spec, "cuda").answer(images, ["Describe it."] * ASKED, max_tokens=TOKENS)
            figures["images_per_second"] = ASKED / (time.perf_counter() - asked_s)
            figures["answered"] = sum(isinstance(answer, Answer) for answer in told)
            return False

        serve(spec, Path(folder) / "log", lambda _: None, lambda _: None, ask)
    if figures["answered"] < ASKED:
        raise Failed("not every image got an answer", figures)
    return figures
