"""Fit the fusion of the demo tier on scenes that no model has seen: `make fit-fusion`.

Draws a calibration corpus, runs the graph on it up to all that the tags are fused from, fits, and writes
`demo/checkpoints/fusion/fusion.json` with the figures of models that had not seen the image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from demo.corpus import make_corpus
from demo.world.scene import Split, drawable_concepts
from evaluation.figures import compute_tag_figures
from evaluation.from_lake import image_names, match_ground_truth
from evaluation.held_out import TRAINING_CARD
from evaluation.metrics.calibration import reliability
from evaluation.readers.ground_truth import read_ground_truth
from resources.home import Home, Settings, write_settings
from resources.models.tiers import Tier
from resources.workspace import Workspace, open_workspace
from vistag_assets.definitions import GATHER_EVIDENCE
from vistag_assets.runs import find_library, tag_folders
from vistag_assets.tags.evidence import SOURCES, only
from vistag_assets.tags.fusion import FittedFusion, fusion_json
from vistag_assets.tags.fusion_fit import BALANCE, cross_fused, fit_fusion, judged, source_sets, truth_of
from vistag_assets.tags.tagger import evidence_in, sources_of

OUT = Path(__file__).parents[1] / "checkpoints" / "fusion" / "fusion.json"
IMAGES = 500
LONGER_SIDE_PX = 512
SEED = 7
"""Of the calibration scenes; the encoder's own calibration took those of seed 0."""
LIBRARY = "calibration"
FOLDERS = 2
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--tier", default="demo", help="name or path; its own `fusion` is not looked at")
    parser.add_argument("--home", type=Path, help="kept there and taken up again; default: a temporary one")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = given.home or Path(temporary)
        workspace, truth = prepare(Home(root), given.tier, given.images)
        fusion = fit(workspace, truth, f"{given.images} scenes of {LONGER_SIDE_PX} px, seed {SEED}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(fusion_json(fusion), encoding="utf-8")
    seen = {"splits_seen": {Split.CALIBRATE.name: int(Split.CALIBRATE)}}
    given.out.with_name(TRAINING_CARD).write_text(json.dumps(seen, indent=2) + "\n", encoding="utf-8")
    print(f"{given.out}: {fusion.version}")


def prepare(home: Home, tier: str, images: int) -> tuple[Workspace, pa.Table]:
    """A home whose lake holds all evidence of the calibration corpus, and the true (id, concept_id) pairs."""
    corpus = home.root / LIBRARY
    make_corpus(
        corpus, images, FOLDERS, SEED, Split.CALIBRATE, LONGER_SIDE_PX, on_progress=_shown("Drawing scenes")
    )
    write_settings(home, Settings(tier=tier))
    folders = find_library(corpus / "library", LIBRARY, home)
    tag_folders(home, folders, lambda stage, done, total: _shown(stage)(done, total), GATHER_EVIDENCE)
    annotated = read_ground_truth(corpus / "ground_truth.json")
    return open_workspace(home), match_ground_truth(annotated, image_names(home, LIBRARY)).truth


def fit(workspace: Workspace, truth: pa.Table, corpus: str) -> FittedFusion:
    """The fusion of everything the tier has, and what it gained, printed and stored."""
    sources = sources_of(workspace.tier)
    evidence = judged(evidence_in(workspace, sources), truth, workspace.taxonomy.broader_pairs())
    alone = recall(only(evidence, ["global"]), truth, "global_probability")
    print(f"{'tag_scores':>24} {_recall_line(alone)}")
    figures: dict[str, Any] = {"tag_scores": {"recall@10": alone}}
    for chosen in source_sets(sources):
        name = "+".join(source for source in SOURCES if source in chosen)
        fused = cross_fused(evidence, truth, [*chosen, "ocr"])
        found = recall(fused, truth, "probability")
        told = believed(fused, truth)
        figures[name] = {"recall@10": found, "reliability": told}
        print(
            f"{name:>24} {_recall_line(found)}   Brier {told['brier']:.4f}  error {told['expected_error']:.4f}"
        )
    fitted_on = {
        "corpus": f"vistag demo world, split calibrate, {corpus}",
        "pairs": evidence.num_rows,
        "true_pairs": int(truth_of(evidence, truth).sum()),
        "balance": BALANCE,
        "models": _models(workspace.tier),
        "encoder": workspace.encoder.fingerprint,
        "taxonomy": workspace.taxonomy.fingerprint,
        "cross_validated": figures,
    }
    return fit_fusion(evidence, truth, sources, fitted_on)


def recall(fused: pa.Table, truth: pa.Table, column: str) -> dict[str, float]:
    """Band -> micro recall@10 among the concepts that can be drawn, as the report gives it."""
    predictions = fused.select(["id", "concept_id"]).append_column("score", fused[column].cast(pa.float64()))
    told = compute_tag_figures(truth, predictions, drawable_concepts())
    return {figure.band: round(figure.micro, 4) for figure in told.recall if figure.k == K}


def believed(fused: pa.Table, truth: pa.Table) -> dict[str, Any]:
    """How far the probabilities can be believed: log loss and Brier score over pairs, and their calibration."""
    from sklearn.metrics import brier_score_loss, log_loss

    probability, is_true = np.asarray(fused["probability"], dtype=np.float64), truth_of(fused, truth)
    _, image = np.unique(fused["id"].to_numpy(zero_copy_only=False), return_inverse=True)
    told = reliability(probability, is_true, image)
    assert told is not None
    return {
        "log_loss": round(float(log_loss(is_true, probability, labels=[False, True])), 5),
        "brier": round(float(brier_score_loss(is_true, probability)), 5),
        "expected_error": round(told.expected_error, 5),
        "bins": [
            {
                "pairs": found.pairs,
                "mean_probability": round(found.mean_probability, 4),
                "share_true": round(found.share_true, 4),
            }
            for found in told.bins
        ],
    }


def _recall_line(found: dict[str, float]) -> str:
    return f"recall@{K} " + "  ".join(f"{band} {value:.3f}" for band, value in found.items())


def _models(tier: Tier) -> dict[str, str]:
    specs = {"encoder": tier.encoder, "detector": tier.detector, "vlm": tier.vlm}
    return {role: spec.name for role, spec in specs.items() if spec is not None}


def _shown(stage: str) -> Any:
    def show(done: int, total: int) -> None:
        print(f"\r{stage}: {done} of {total}", end="\n" if done == total else "", flush=True)

    return show


if __name__ == "__main__":
    main()
