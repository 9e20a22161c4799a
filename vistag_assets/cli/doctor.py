"""Whether the models of a tier really run here: each is loaded and shown one picture."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.images import sandboxed_by
from resources.models.checkpoints import Device, ModelSpec, ModelUnavailableError, RoleSpec
from resources.models.depth import DepthEstimator
from resources.models.detectors import Detector
from resources.models.encoders import Encoder
from resources.models.ocr import OcrEngine
from resources.models.segmenters import Segmenter
from resources.models.segmenters.masks import box_fill
from resources.models.taggers import AskedTag, Tagger
from resources.models.tiers import role_specs
from resources.models.vlms import TextModel, Unanswered, Vlm
from resources.models.vlms.description import description_schema
from resources.workspace import Workspace, require_card
from vistag_assets.regions.overlay import Marked, draw_regions

if TYPE_CHECKING:
    from PIL import Image

SAMPLE_SCENE = 25
"""Of the demo's drawn world: a vase and a label that can be read."""
PHRASES_ASKED = 8
SHOWN = 3
MASK_COLOUR = (0, 158, 115)
MASK_SHARE = 0.5
REPAIRED = "A vase with a gilded rim. Light falls from the left."
_MIDDLE_XYWH = (0.25, 0.25, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Examined:
    """One model of the tier after it was shown the picture."""

    role: str
    model: str
    device: str
    load_s: float
    run_s: float
    peak_gib: float | None
    """of the GPU's memory so far; None on the processor"""
    saw: str
    error: str
    """empty where it ran"""
    trace: str
    """of the error"""


# What holds a decoder here -> what it cannot do.
SANDBOXES = {
    (
        "seccomp",
        "landlock",
    ): "seccomp and Landlock: no network, no other process, no file but Python's libraries",
    ("seccomp",): "seccomp alone (this kernel has no Landlock): no network, no other process, no file",
    ("landlock",): "Landlock alone (no seccomp for this machine): no TCP, no file but Python's libraries",
    (): "no sandbox, because this system has none that vistag knows. They are processes of their own with bounds and "
    "without keys; for strangers' pictures, run vistag in a container without network",
}


def sandbox_of_decoders() -> str:
    """A sentence on what keeps a decoder that a picture took over from this machine."""
    return f"Pictures are decoded under {SANDBOXES[tuple(sandboxed_by())]}."


@dataclass
class Findings:
    """What the models found so far, which is what later ones are asked with."""

    phrases: list[str]
    box_xywh: tuple[float, float, float, float] = _MIDDLE_XYWH
    regions: list[Marked] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None
    """[height, width]"""

    def drawn(self, image: Image.Image) -> Image.Image:
        """The picture with the best regions, and the mask of one of them in colour."""
        from PIL import Image

        shown = image
        if self.mask is not None:
            pixels = np.asarray(image, dtype=np.float32)
            tint = np.array(MASK_COLOUR, dtype=np.float32)
            pixels = np.where(self.mask[..., None], (1 - MASK_SHARE) * pixels + MASK_SHARE * tint, pixels)
            shown = Image.fromarray(pixels.astype(np.uint8))
        return draw_regions(shown, self.regions)


def sample_image() -> Image.Image:
    """A drawn museum object, so that no picture is needed."""
    from PIL import Image

    from demo.world.render import render
    from demo.world.scene import SceneSampler, Split

    return Image.fromarray(render(SceneSampler(Split.CORPUS).scene(SAMPLE_SCENE), 640).pixels)


def examine(workspace: Workspace, image: Image.Image, findings: Findings) -> Iterator[Examined]:
    """Load each model of the tier and show it the picture; an error is told, and the next one goes on.

    `findings` begins with the phrases of the vocabulary, and holds what was found in the end.
    """
    for lane, spec in role_specs(workspace.tier).items():
        yield _examined(lane, spec, workspace, image, findings)


def _examined(
    lane: str, spec: RoleSpec[Any], workspace: Workspace, image: Image.Image, findings: Findings
) -> Examined:
    device: Device = workspace.tier.device if isinstance(spec, ModelSpec) else "cpu"
    start = loaded = time.perf_counter()
    saw = error = trace = ""
    try:
        if device == "cuda":
            require_card(workspace.tier)
        model = getattr(workspace, lane)
        model.load()
        loaded = time.perf_counter()
        saw = EXAMINATIONS[spec.role](model, image, findings)
    except Exception as problem:  # whatever it is, this command is there to tell it
        error = f"{type(problem).__name__}: {problem}"
        trace = traceback.format_exc()
    return Examined(
        role=lane,
        model=spec.name,
        device=device,
        load_s=loaded - start,
        run_s=time.perf_counter() - loaded,
        peak_gib=_peak_gib() if device == "cuda" and not error else None,
        saw=saw,
        error=error,
        trace=trace,
    )


def _encoder(encoder: Encoder, image: Image.Image, findings: Findings) -> str:
    texts = encoder.embed_texts([f"a photo of {phrase}" for phrase in findings.phrases])
    cosines = texts @ encoder.embed_images([image])[0]
    best = np.argsort(-cosines)[:PHRASES_ASKED]
    told = ", ".join(f"{findings.phrases[place]} {cosines[place]:.2f}" for place in best[:SHOWN])
    findings.phrases = [findings.phrases[place] for place in best]
    return f"{told} (cosines, of {len(cosines)} labels)"


def _detector(detector: Detector, image: Image.Image, findings: Findings) -> str:
    asked = findings.phrases[:PHRASES_ASKED]
    (found,) = detector.detect([image], [asked])
    if not len(found.scores):
        return f"no region for {', '.join(asked)}"
    ordered = np.argsort(-found.scores)
    best = int(ordered[0])
    findings.regions = [
        Marked(found.boxes_xywh[place], asked[found.phrase_index[place]], float(found.scores[place]))
        for place in ordered[:SHOWN]
    ]
    x, y, w, h = (float(side) for side in found.boxes_xywh[best])
    findings.box_xywh = (x, y, w, h)
    return (
        f"{len(found.scores)} regions, the best {asked[found.phrase_index[best]]} {found.scores[best]:.2f} "
        f"at x {x:.2f} y {y:.2f} w {w:.2f} h {h:.2f}"
    )


def _segmenter(segmenter: Segmenter, image: Image.Image, findings: Findings) -> str:
    box = np.array(findings.box_xywh, dtype=np.float32)
    mask = segmenter.segment(image, box[None]).masks[0]
    findings.mask = mask
    return f"a mask of {mask.mean():.0%} of the picture, {box_fill(mask, box):.0%} of its box"


def caption(vlm: Vlm, image: Image.Image) -> str:
    """What a model says of a picture. Raises ModelUnavailableError where a server gives no answer."""
    asked = vlm.spec.caption_question.prompt
    (answer,) = vlm.answer([image], [asked], max_tokens=vlm.spec.caption_tokens)
    if isinstance(answer, Unanswered):
        raise ModelUnavailableError(answer.reason)
    return answer.text or "(an empty answer)"


def _tagger(tagger: Tagger, image: Image.Image, findings: Findings) -> str:
    if tagger.spec.open_set:
        names = tuple(findings.phrases)
        (scores,) = tagger.score(
            [image], tuple(AskedTag((name,), (f"a photo of {name}.",)) for name in names)
        )
    else:
        names = tagger.tag_list.names
        (scores,) = tagger.score([image])
    told = ", ".join(f"{names[place]} {scores[place]:.2f}" for place in np.argsort(-scores)[:SHOWN])
    return f"{told} (scores, of {len(names)} tags)"


def _ocr(engine: OcrEngine, image: Image.Image, findings: Findings) -> str:
    lines = [line.text for line in engine.read(image)]
    return "; ".join(lines[:SHOWN]) or "no text"


def _depth(estimator: DepthEstimator, image: Image.Image, findings: Findings) -> str:
    (found,) = estimator.estimate([image])
    height, width = found.depth.shape
    return f"{width} x {height} pixels, {found.depth.min():.2f} to {found.depth.max():.2f} ({found.unit})"


def _repair(model: TextModel, image: Image.Image, findings: Findings) -> str:
    (answer,) = model.rewrite([REPAIRED], description_schema())
    return answer.text


EXAMINATIONS: Mapping[str, Callable[[Any, Image.Image, Findings], str]] = {
    "encoder": _encoder,
    "detector": _detector,
    "segmenter": _segmenter,
    "vlm": lambda vlm, image, findings: caption(vlm, image),
    "tagger": _tagger,
    "ocr": _ocr,
    "depth": _depth,
    "repair": _repair,
}
"""role -> what its model is asked, and what it saw"""


def _peak_gib() -> float:
    import torch

    return torch.cuda.max_memory_reserved() / 2**30
