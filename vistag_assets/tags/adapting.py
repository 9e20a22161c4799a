"""Fitting the adapter of a home: what people accepted, and tags that are known to be true, in; weights and a policy out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from resources.lake import embedding_matrix
from resources.workspace import Workspace
from vistag_assets.tags.decided import ACCEPTED, decided_in
from vistag_assets.whole_image.adapter_policy import (
    FOLDS,
    Policy,
    Texts,
    adapter_of,
    choose,
    described,
    folds_of,
)
from vistag_assets.whole_image.adapters import Examples, Linear, Vectors
from vistag_assets.whole_image.home_adapter import (
    AdapterError,
    HomeAdapter,
    read_home_adapter,
    write_home_adapter,
)
from vistag_assets.whole_image.scoring import pool_phrases

FEWEST = 20
"""Examples; of fewer nothing is chosen by cross-validation."""
_INVERSE_PENALTY = 1.0
_PAIRS_FOR_A_LINE = 2_000_000
Pair = tuple[str, str]
"""(image id, concept id)"""


def fit_home_adapter(
    workspace: Workspace, folders: Sequence[str], known: Collection[Pair] = ()
) -> HomeAdapter:
    """Fit to the tags that people accepted, and to `known` true ones, of the pictures of some folders; keep it in the home.

    Raises AdapterError where there are fewer than `FEWEST` examples, MissingPartition, LogUnavailable.
    """
    lake, taxonomy = workspace.lake, workspace.taxonomy
    ids, parts, accepted = [], [], set(known)
    for key in folders:
        table = lake.read("global_embeddings", key)
        ids += table["id"].to_pylist()
        parts.append(embedding_matrix(table["embedding"]))
        decided = decided_in(
            workspace.decisions, lake.read("images", key), taxonomy.replaced, taxonomy.labels
        )
        accepted |= {
            (row["id"], row["concept_id"]) for row in decided.to_pylist() if row["state"] == ACCEPTED
        }
    row_of = {id_: row for row, id_ in enumerate(ids)}
    pairs = sorted((id_, c) for id_, c in accepted if id_ in row_of and c in taxonomy.by_id)
    if len(pairs) < FEWEST:
        raise AdapterError(
            f"There are {len(pairs)} accepted tags of pictures of these folders, and {FEWEST} are needed. Accept more "
            "(vistag decide, or the review), or give --ground-truth."
        )
    concept_ids, vectors = pool_phrases(lake.read("concept_embeddings"))
    column_of = {concept_id: column for column, concept_id in enumerate(concept_ids)}
    labelled = sorted({id_ for id_, _ in pairs})
    place = {id_: row for row, id_ in enumerate(labelled)}
    pictures = np.concatenate(parts)[[row_of[id_] for id_ in labelled]]
    examples = Examples(
        pictures,
        np.array([place[id_] for id_, _ in pairs]),
        np.array([column_of[concept_id] for _, concept_id in pairs]),
        len(concept_ids),
    )
    texts = Texts(vectors, workspace.encoder.score_head.scale)
    policy = choose(texts, examples)
    seqs = [event.seq or 0 for event in workspace.decisions.since(0)]
    adapter = HomeAdapter(
        workspace.encoder.fingerprint,
        concept_ids,
        _calibrated(adapter_of(policy, texts, examples), _told_held_out(policy, texts, examples), examples),
        described(policy),
        len(labelled),
        len(pairs),
        max(seqs, default=0),
        list(folders),
        sorted(map(list, known)),
    )
    write_home_adapter(workspace.home, adapter, labelled)
    return adapter


def refit_home_adapter(workspace: Workspace) -> HomeAdapter:
    """Once more, to the same folders and known tags and to all that people have said by now.

    Raises as `fit_home_adapter`, and AdapterError where there is none.
    """
    own = read_home_adapter(workspace.home, workspace.encoder)
    if own is None:
        raise AdapterError("The home has no adapter of its encoder. Run vistag adapt first.")
    there = [key for key in own.folders if workspace.lake.exists("global_embeddings", key)]
    return fit_home_adapter(workspace, there, {(id_, concept_id) for id_, concept_id in own.known})


def _told_held_out(policy: Policy, texts: Texts, examples: Examples) -> Vectors:
    told = np.empty((len(examples.vectors), examples.concepts), np.float32)
    for others, own, vectors in folds_of(examples, FOLDS):
        told[own] = adapter_of(policy, texts, others).log_odds(vectors)
    return told


def _calibrated(linear: Linear, held_out: Vectors, examples: Examples) -> Linear:
    """By one line on the scores of held-out pictures (Platt, 1999); it changes no order where it rises."""
    from sklearn.linear_model import LogisticRegression

    is_true = np.zeros(held_out.shape, bool)
    is_true[examples.row, examples.column] = True
    step = max(1, held_out.size // _PAIRS_FOR_A_LINE)
    told, true = held_out.ravel()[::step], is_true.ravel()[::step]
    if not true.any():
        return linear
    line = LogisticRegression(C=_INVERSE_PENALTY).fit(told[:, None], true)
    slope, shift = max(float(line.coef_[0, 0]), 1e-3), float(line.intercept_[0])
    return Linear(linear.weights * np.float32(slope), (linear.bias * slope + shift).astype(np.float32))
