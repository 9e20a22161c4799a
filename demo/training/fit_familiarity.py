"""Fits the line between drawings and photographs: python -m demo.training.fit_familiarity PHOTOGRAPHS.

What is written are some fifty numbers (resources/models/familiarity.json). Drawings are made of the demo's world, of
other scenes than the demo's; three quarters of both are fitted on, a quarter of the drawings sets the limit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from demo.corpus import make_corpus
from resources.models.familiarity import FILE, VERSION, texture

DRAWINGS = 760
SEED = 7
SUFFIXES = {".jpg", ".jpeg", ".png"}
REGULARISATION = 3.0
BEYOND = 0.01
"""Share of held-out drawings that lie on the side of photographs."""
_WORKING_COPY_PX = 1024


def textures(folder: Path) -> NDArray[np.float32]:
    """Of all pictures below a folder, at the size of working copies, `[n, numbers]`."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        with Image.open(path) as image:
            copy = image.convert("RGB")
        copy.thumbnail((_WORKING_COPY_PX, _WORKING_COPY_PX))
        found.append(texture(copy))
    return np.array(found, np.float32)


def fit(drawn: NDArray[np.float32], photographed: NDArray[np.float32]) -> dict[str, object]:
    """The content of the file, of textures of both worlds."""
    held_out = [np.arange(len(rows)) % 4 == 0 for rows in (drawn, photographed)]
    kept = [rows[~out] for rows, out in zip((drawn, photographed), held_out, strict=True)]
    features = np.concatenate(kept)
    is_photograph = np.repeat([0, 1], [len(rows) for rows in kept])
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=5000)
    model.fit(scaler.transform(features), is_photograph)
    weights = model.coef_[0] / scaler.scale_
    drawings, photographs = (
        rows[out] @ weights for rows, out in zip((drawn, photographed), held_out, strict=True)
    )
    limit = float(np.quantile(drawings, 1 - BEYOND))
    print(
        f"held out: above the line {np.mean(photographs > limit):.3f} of {len(photographs)} photographs and "
        f"{np.mean(drawings > limit):.3f} of {len(drawings)} drawings"
    )
    return {
        "version": VERSION,
        "weights": [round(float(weight), 5) for weight in weights],
        "offset": round(-limit, 5),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        make_corpus(Path(directory), images=DRAWINGS, folders=2, seed=SEED)
        drawn = textures(Path(directory))
    FILE.write_text(json.dumps(fit(drawn, textures(options.photographs)), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
