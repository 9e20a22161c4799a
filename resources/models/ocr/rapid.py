"""RapidOCR: PP-OCR's detector and recogniser of lines as ONNX models, both in the wheel; no network, no torch.

The classifier of text that stands on its head is left out: proxies are upright, and it would cost a third
model for what a catalogue photograph does not have.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device, ModelUnavailableError
from resources.models.load_counter import count_load
from resources.models.ocr.lines import Box, TextLine, reading_order
from resources.models.ocr.spec import OcrSpec

if TYPE_CHECKING:
    from PIL import Image

PACKAGE = "rapidocr"


class RapidOcrEngine:
    """One pair of models for the process.

    Reading is safe in several threads: an ONNX session may run in many at once, and RapidOCR keeps nothing of
    an image between its steps. A session works in the thread that calls it and starts none of its own, so
    the caller's threads are all there are. Making one raises ModelUnavailableError where the package is missing.
    It runs on the CPU, whatever the tier's device.
    """

    device: Device = "cpu"

    def __init__(self, spec: OcrSpec, device: Device = "cpu") -> None:
        self.spec = spec
        # the models come with the package, so its version names their bytes
        self.fingerprint = fingerprint(
            engine=PACKAGE,
            release=_release(),
            min_confidence=spec.min_confidence,
            min_characters=spec.min_characters,
            max_side_px=spec.max_side_px,
        )
        self._loading = Lock()
        self._loaded: Any = None

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    def load(self) -> None:
        """Raises ModelUnavailableError where the package, or a model in it, is missing."""
        with self._loading:
            if self._loaded is None:
                self._loaded = _open_models(self.spec)

    def read(self, image: Image.Image) -> list[TextLine]:
        """The lines of an upright RGB image in reading order, those that the spec's bars let pass."""
        self.load()
        blue_green_red = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
        found = self._loaded(blue_green_red)
        if found.boxes is None:
            return []
        lines = [
            TextLine(text.strip(), float(confidence), _relative_box(corners, image.width, image.height))
            for text, confidence, corners in zip(found.txts, found.scores, found.boxes, strict=True)
            if sum(character.isalnum() for character in text) >= self.spec.min_characters
        ]
        return [lines[place] for place in reading_order([line.box_xywh for line in lines])]


def _release() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError as error:
        raise ModelUnavailableError(_MISSING) from error


def _open_models(spec: OcrSpec) -> Any:
    # The paths are given because RapidOCR downloads a model that it is not given.
    detector, recogniser = _model_file("det"), _model_file("rec")
    from rapidocr import RapidOCR

    count_load(PACKAGE)
    engine = RapidOCR(
        params={
            "Global.log_level": "critical",  # it warns of every picture without text
            "Global.use_cls": False,
            # It would blow up a thin strip to 30 px of height before anything bounds its length.
            "Global.use_preprocess_img": False,
            "Global.text_score": spec.min_confidence,
            "Det.model_path": str(detector),
            "Det.limit_type": "max",
            "Det.limit_side_len": spec.max_side_px,
            "Rec.model_path": str(recogniser),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
    # Each model is opened at its first use; here, before threads share them.
    blank = np.full((64, 64, 3), 255, np.uint8)
    engine(blank, use_det=False)
    engine(blank, use_det=True)
    return engine


def _model_file(role: str) -> Path:
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModelUnavailableError(_MISSING)
    models = Path(package.origin).parent / "models"
    match sorted(models.glob(f"*_{role}_*.onnx")):
        case [path]:
            return path
        case found:
            raise ModelUnavailableError(
                f"{models} should hold one model *_{role}_*.onnx and holds {len(found)}. "
                f"Install {PACKAGE} again: pip install --force-reinstall {PACKAGE}"
            )


_MISSING = f"The package {PACKAGE} is not installed. Install it: pip install {PACKAGE} onnxruntime"


def _relative_box(corners: NDArray[Any], width: int, height: int) -> Box:
    """The upright box around four corners [4, 2] in pixels, relative to the image and within it."""
    scaled = np.clip(np.asarray(corners, np.float64) / (width, height), 0, 1)
    (x, y), (right, bottom) = scaled.min(axis=0), scaled.max(axis=0)
    return float(x), float(y), float(right - x), float(bottom - y)
