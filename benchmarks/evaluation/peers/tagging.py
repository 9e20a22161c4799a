"""Ours, of tags: recall@k of every band at four k, with intervals."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.evaluation import PREDICTED_TAGS, TRUE_TAGS
from benchmarks.evaluation.peers.mean_recall import Recall
from benchmarks.evaluation.workload import tag_names
from evaluation.metrics.bands import frequency_bands
from evaluation.metrics.recall_at_k import Recall as TagRecall
from evaluation.metrics.recall_at_k import band_groups, pair_up, recall_at_k, true_ranks


def load(folder: Path) -> tuple[pa.Table, pa.Table]:
    return pq.read_table(folder / TRUE_TAGS), pq.read_table(folder / PREDICTED_TAGS)


def evaluate(loaded: tuple[pa.Table, pa.Table]) -> TagRecall:
    truth, predictions = loaded
    concepts = tag_names()
    pairs = pair_up(truth, predictions, concepts)
    groups = band_groups(frequency_bands(truth, concepts), pairs.concepts)
    return recall_at_k(pairs, true_ranks(pairs), groups)


def recall(evaluation: TagRecall) -> Recall:
    return {f"{figure.band} {figure.k}": figure.micro for figure in evaluation.figures}
