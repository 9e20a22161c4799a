"""Scoring in blocks gives what scoring all at once gave: the best tags, their order in ties, who lent them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home, Settings, write_settings
from resources.models.encoders.heads import ScoreHead
from resources.tables import CONCEPT_EMBEDDINGS
from resources.workspace import Workspace, open_workspace
from vistag_assets.whole_image import concept_embeddings, scoring
from vistag_assets.whole_image.scoring import Scorer, propagate_to_ancestors, score_images, top_columns


def lent_by_hand(values: NDArray[np.float32], descendants: dict[int, list[int]]) -> NDArray[np.intp]:
    source = np.tile(np.arange(values.shape[1]), (values.shape[0], 1))
    for broader, narrower in descendants.items():
        columns = np.array([broader, *narrower])
        source[:, broader] = columns[np.argmax(values[:, columns], axis=1)]
    return source


@pytest.mark.parametrize("seed", range(5))
def test_top_columns_are_those_of_a_stable_sort_also_in_ties(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 6, (40, 90)).astype(np.float32)
    for most in (1, 7, 89, 90, 200):
        expected = np.argsort(-values, axis=1, kind="stable")[:, :most]
        assert (top_columns(values, most) == expected).all()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_lent_is_lent_by_the_first_of_the_best(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 4, (30, 50)).astype(np.float32)
    descendants = {
        broader: sorted(random.choice(np.arange(20, 50), int(random.integers(1, 12)), replace=False).tolist())
        for broader in range(0, 20, 2)
    }
    assert (propagate_to_ancestors(values, descendants) == lent_by_hand(values, descendants)).all()
    assert (propagate_to_ancestors(values, {}) == np.arange(50)).all()


def test_blocks_of_any_size_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images, concepts = (scoring.unit_rows(random.normal(size=(n, 8)).astype(np.float32)) for n in (23, 60))
    head = ScoreHead("sigmoid", 10.0, -3.0)
    scorer = Scorer([f"c{n:02}" for n in range(60)], concepts, head, None, {0: [5, 9], 7: [8]}, 12)
    ids = [f"i{n}" for n in range(23)]
    whole = score_images(ids, images, scorer)
    monkeypatch.setattr(scoring, "_SCORES_AT_A_TIME", 60 * 5)
    parts = score_images(ids, images, scorer)
    assert parts.drop_columns(["cosine", "logit", "score", "probability"]).equals(
        whole.drop_columns(["cosine", "logit", "score", "probability"])
    )
    assert np.allclose(parts["probability"].to_numpy(), whole["probability"].to_numpy(), atol=1e-6)
    assert score_images([], images[:0], scorer).num_rows == 0


# The text matrix


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    checkpoint = save_tiny_siglip(tmp_path / "tiny")
    (tmp_path / "v.csv").write_text(
        "id,pref_label,alt_labels\n" + "".join(f"c{n},bowl {n},cup {n}\n" for n in range(12))
    )
    encoder = f"{{family: siglip, model: {checkpoint}, licence: own}}"
    (tmp_path / "t.yaml").write_text(f"description: tiny\ndevice: cpu\nencoder: {encoder}\n")
    home = Home(tmp_path / "home")
    write_settings(home, Settings(tier=str(tmp_path / "t.yaml"), taxonomy=str(tmp_path / "v.csv")))
    return open_workspace(home)


def test_a_run_that_is_killed_goes_on_where_it_was(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concept_embeddings, "PHRASES_A_BATCH", 10)
    embedded: list[int] = []

    def stop(done: int, total: int) -> None:
        if done >= 30 and not embedded:
            embedded.append(done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        concept_embeddings.embed_concepts(workspace, stop)
    pending = workspace.lake.pending(CONCEPT_EMBEDDINGS.name)
    kept = {file: file.stat().st_mtime_ns for file in pending.glob("*.parquet")}
    assert len(kept) == 2  # the third part was at work
    seen: list[dict[Path, int]] = []
    stats = concept_embeddings.embed_concepts(
        workspace,
        lambda done, total: seen.append({f: f.stat().st_mtime_ns for f in pending.glob("*.parquet")}),
    )
    assert kept.items() <= seen[-1].items()
    assert not pending.exists()
    assert stats.computed == 72
    rows = workspace.lake.read(CONCEPT_EMBEDDINGS.name)
    texts = [text for _, text in concept_embeddings.wanted_phrases(workspace)]
    assert rows["text"].to_pylist() == texts
    direct = workspace.encoder.embed_texts(texts)
    stored = np.array(rows["embedding"].to_pylist(), np.float32)
    assert np.allclose(stored, direct, atol=2e-3)
    assert concept_embeddings.embed_concepts(workspace).computed == 0


def test_the_cost_is_told_before_any_work(workspace: Workspace) -> None:
    cost = concept_embeddings.phrase_cost(workspace, at_least=72)
    assert cost is not None
    assert (cost.missing, cost.preferred) == (72, 36)
    assert 0 < cost.preferred_seconds < cost.seconds
    concept_embeddings.embed_concepts(workspace)
    assert concept_embeddings.phrase_cost(workspace, at_least=1) is None
    assert isinstance(workspace.lake.read(CONCEPT_EMBEDDINGS.name), pa.Table)
