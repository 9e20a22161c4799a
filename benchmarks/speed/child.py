"""One thing measured in a process of its own: python -m benchmarks.speed.child NAME CHECKPOINT FOLDER; prints JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measuring import peak_mib
from resources.models.checkpoints import make_model
from resources.models.detectors import DetectorSpec
from resources.models.encoders import EncoderSpec, embed_in_batches

BATCH = 32
ROUNDS = 3
PHRASES = ["a vase", "a brick wall", "rust", "a car"]
Work = Callable[[], Any]


def measured(work: Work, images: int) -> dict[str, float]:
    """Images a second, and seconds of processors an image."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    seconds, processor_s = time.perf_counter() - wall, time.process_time() - processor
    return {"images_per_second": images / seconds, "processor_s": processor_s / images}


def in_turns(works: dict[str, Work], images: int) -> dict[str, Any]:
    """Each of the works some times, by turns: the median of each figure, and of the ratios of a turn."""
    for work in works.values():
        work()
    rounds = [{name: measured(work, images) for name, work in works.items()} for _ in range(ROUNDS)]
    figures = {
        name: {figure: statistics.median(r[name][figure] for r in rounds) for figure in rounds[0][name]}
        for name in works
    }
    first, second = works
    speeds = [r[second]["images_per_second"] / r[first]["images_per_second"] for r in rounds]
    costs = [r[second]["processor_s"] / r[first]["processor_s"] for r in rounds]
    return {**figures, "ratio": statistics.median(speeds), "processor_ratio": statistics.median(costs)}


def embedding(family: str, checkpoint: str, files: Sequence[Path]) -> dict[str, Any]:
    """The embedding stage over proxies beside the model's forward pass over ready tensors."""
    spec = EncoderSpec.model_validate(
        {"family": family, "model": checkpoint, "batch_size": BATCH, "licence": "own", "dtype": "float32"}
    )
    encoder = make_model(spec, "cpu")
    encoder.load()
    ready = encoder.preprocess(_opened(files[0]))
    batches = [
        {name: torch.from_numpy(np.stack([array] * size)) for name, array in ready.items()}
        for size in _sizes(len(files))
    ]

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                encoder._towers.image_features(batch)

    return in_turns(
        {"bare": bare, "vistag": lambda: list(embed_in_batches(encoder, files, _opened))}, len(files)
    )


def grounding(family: str, checkpoint: str, files: Sequence[Path]) -> dict[str, Any]:
    """A detector over proxies beside its forward pass over ready tensors."""
    spec = DetectorSpec.model_validate(
        {"family": family, "model": checkpoint, "batch_size": 4, "licence": "own", "dtype": "float32"}
    )
    detector: Any = make_model(spec, "cpu")
    detector.load()
    side = detector.model.config.vision_config.image_size
    tokens = detector.processor.tokenizer(PHRASES, padding="max_length", max_length=16, return_tensors="pt")
    pixels = torch.zeros(1, 3, side, side)

    def bare() -> None:
        with torch.inference_mode():
            for _ in files:
                detector.model(
                    pixel_values=pixels,
                    input_ids=tokens["input_ids"],
                    attention_mask=tokens["attention_mask"],
                )

    def ours() -> None:
        for file in files:
            detector.detect([_opened(file)], [PHRASES])

    return in_turns({"bare": bare, "vistag": ours}, len(files))


def decode(family: str, checkpoint: str, files: Sequence[Path]) -> dict[str, Any]:
    """Files to pixels, and nothing else; one picture is held at a time."""

    def loop() -> None:
        for file in files:
            with Image.open(file) as image:
                image.load()

    return measured(loop, len(files))


def plain_loop(family: str, checkpoint: str, files: Sequence[Path]) -> dict[str, Any]:
    """What one writes with transformers in ten lines."""
    from transformers import AutoModel, AutoProcessor

    model, processor = AutoModel.from_pretrained(checkpoint).eval(), AutoProcessor.from_pretrained(checkpoint)

    def loop() -> None:
        rows = []
        for start in range(0, len(files), BATCH):
            images = [Image.open(file).convert("RGB") for file in files[start : start + BATCH]]
            with torch.inference_mode():
                features = model.get_image_features(**processor(images=images, return_tensors="pt"))
            features = getattr(features, "pooler_output", features)
            rows.append((features / features.norm(dim=-1, keepdim=True)).numpy())
        np.concatenate(rows)

    return measured(loop, len(files))


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def _sizes(images: int) -> list[int]:
    return [min(BATCH, images - start) for start in range(0, images, BATCH)]


WORKS = {"embedding": embedding, "grounding": grounding, "decode": decode, "plain_loop": plain_loop}


def main() -> None:
    name, family, checkpoint, folder = sys.argv[1:]
    found = WORKS[name](family, checkpoint, sorted(Path(folder).glob("*.jpg")))
    print(json.dumps(found | {"peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
