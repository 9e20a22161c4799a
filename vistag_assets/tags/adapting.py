"""Fitting the adapter of a home: what people accepted, and tags that are known to be true, in; weights and a policy out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from resources.lake import embedding_matrix
from resources.workspace import Workspace
from vistag_assets.tags.decided import ACCEPTED, REJECTED, decided_in
from vistag_assets.whole_image.adapter_policy import (
    FOLDS,
    Policy,
    Texts,
    adapter_of,
    choose,
    described,
    folds_of,
    groups_of,
    judging,
)
from vistag_assets.whole_image.adapters import Examples, Vectors
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
_OTHERS = 4000
"""Pictures without a label that say where pictures lie; of no concept do they say anything."""
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
    ids, parts, accepted, rejected = [], [], set(known), set[Pair]()
    for key in folders:
        table = lake.read("global_embeddings", key)
        ids += table["id"].to_pylist()
        parts.append(embedding_matrix(table["embedding"]))
        decided = decided_in(
            workspace.decisions, lake.read("images", key), taxonomy.replaced, taxonomy.labels
        ).to_pylist()
        accepted |= {(row["id"], row["concept_id"]) for row in decided if row["state"] == ACCEPTED}
        rejected |= {(row["id"], row["concept_id"]) for row in decided if row["state"] == REJECTED}
    row_of = {id_: row for row, id_ in enumerate(ids)}
    concept_ids, vectors = pool_phrases(lake.read("concept_embeddings"))
    column_of = {concept_id: column for column, concept_id in enumerate(concept_ids)}
    pairs = sorted((id_, c) for id_, c in accepted if id_ in row_of and c in column_of)
    if len(pairs) < FEWEST:
        raise AdapterError(
            f"There are {len(pairs)} accepted tags of pictures of these folders, and {FEWEST} are needed. Accept more "
            "(vistag decide, or the review), or give --ground-truth."
        )
    false = sorted((id_, c) for id_, c in rejected - accepted if id_ in row_of and c in column_of)
    labelled = sorted({id_ for id_, _ in pairs})
    spoken_of = labelled + sorted({id_ for id_, _ in false}.difference(labelled))
    others = sorted(set(ids).difference(spoken_of))
    seen = spoken_of + others[:: max(1, len(others) // _OTHERS)]
    place = {id_: row for row, id_ in enumerate(seen)}
    examples = Examples(
        np.concatenate(parts)[[row_of[id_] for id_ in seen]],
        np.array([place[id_] for id_, _ in pairs]),
        np.array([column_of[concept_id] for _, concept_id in pairs]),
        len(concept_ids),
        np.array([(place[id_], column_of[c]) for id_, c in false], np.intp).reshape(-1, 2),
    )
    texts = Texts(vectors, workspace.encoder.score_head.scale)
    policy = choose(texts, examples)
    head = workspace.encoder.score_head
    judged = judging(len(seen), len(concept_ids))
    own = head.logits(examples.vectors[judged] @ vectors.T)
    linear = adapter_of(policy, texts, examples).matched(own, examples.vectors[judged])
    slope, shift = _line(*_told_held_out(policy, texts, examples, own, np.arange(len(labelled))))
    seqs = [event.seq or 0 for event in workspace.decisions.since(0)]
    adapter = HomeAdapter(
        workspace.encoder.fingerprint,
        concept_ids,
        linear,
        described(policy),
        len(labelled),
        len(pairs),
        max(seqs, default=0),
        list(folders),
        sorted(map(list, known)),
        slope,
        shift,
        groups_of(examples.counts).tolist(),
    )
    write_home_adapter(workspace.home, adapter, spoken_of)
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


def _told_held_out(
    policy: Policy, texts: Texts, examples: Examples, own: Vectors, labelled: NDArray[np.intp]
) -> tuple[Vectors, NDArray[np.bool_]]:
    """Log odds of labelled pictures by fits without them, and what is true, [pictures that judge, concepts]."""
    judged = judging(len(examples.vectors), examples.concepts)
    told, rows = [], []
    for others, there, _ in folds_of(examples, FOLDS):
        mine = labelled[there[labelled]][judged]
        fitted = adapter_of(policy, texts, others).matched(own, examples.vectors[judged])
        told.append(fitted.log_odds(examples.vectors[mine]))
        rows.append(mine)
    return np.concatenate(told), examples.truth(np.concatenate(rows))


def _line(held_out: Vectors, is_true: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and shift from log odds of held-out labelled pictures to those of a probability (Platt, 1999). It rises, so that
    it changes no order.
    """
    from sklearn.linear_model import LogisticRegression

    step = max(1, held_out.size // _PAIRS_FOR_A_LINE)
    told, true = held_out.ravel()[::step], is_true.ravel()[::step]
    if not true.any():
        return 1.0, 0.0
    line = LogisticRegression(C=_INVERSE_PENALTY).fit(told[:, None], true)
    return max(float(line.coef_[0, 0]), 1e-3), float(line.intercept_[0])
