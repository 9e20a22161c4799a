"""How often a catalogue has each concept, as a shift of the log odds of its tags: kept in the home, used by every later run.

Two ways: logit adjustment by the catalogue's own counts (Menon et al., Long-tail learning via logit adjustment, 2021), and
distribution alignment, which looks besides at how often the models say each concept of the home's pictures (Berthelot et
al., ReMixMatch, 2020).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.home import Home
from resources.lake.files import replace_file
from taxonomy import Taxonomy
from taxonomy.keywords import Keywords
from taxonomy.problems import read_foreign_text

FILE = "priors.json"
UNSEEN = 0.5
"""Times that a concept counts which the catalogue never has: the log of none is no number."""
WEIGHT = 0.5
"""docs/tail.md: all of the prior drowns rare concepts."""
_LEAST_ODDS = 1e-12
Shifts = NDArray[np.float64]


class PriorsError(ValueError):
    """Counts that cannot be used, or a file of a home that is none; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a catalogue's own figures say."""

    by_concept: dict[str, float]
    """0 and more; a broader concept has at least what its most frequent narrower one has"""
    warnings: tuple[str, ...]
    """rows that say nothing of this vocabulary, each with its line"""


@dataclass(frozen=True, slots=True)
class HomePriors:
    """Shifts of log odds, and what they were made of."""

    way: str
    """logit adjustment or distribution alignment"""
    weight: float
    source: str
    shifts: dict[str, float]
    """concept id -> added to its log odds"""
    encoder: str = ""
    """fingerprint of the one whose scores were looked at; "" for all"""

    @property
    def version(self) -> str:
        return fingerprint(weight=self.weight, way=self.way, shifts=self.shifts)


def read_counts(path: Path, taxonomy: Taxonomy) -> Counts:
    """A CSV of concept and count, with or without a header; concepts by id, IRI, notation or label in any language.

    Several rows of one concept are added. Raises PriorsError where no row can be used, TaxonomyError where the file cannot
    be read.
    """
    text, _ = read_foreign_text(path)
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    find = Keywords(taxonomy).concepts_of
    found: dict[str, float] = {}
    warnings = []
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        place = f"{path}:{reader.line_num}"
        count = _number(cells[1]) if len(cells) > 1 else None
        if count is None:
            if reader.line_num > 1:
                warnings.append(f"{place}: {row} is no concept and a count of 0 or more; left out")
            continue
        ids = find(cells[0])
        if len(ids) != 1:
            why = f"may be {', '.join(ids)}: give its id" if ids else "is no concept of the vocabulary"
            warnings.append(f"{place}: {cells[0]!r} {why}; left out")
            continue
        found[ids[0]] = found.get(ids[0], 0.0) + count
    if not any(found.values()):
        told = "\n".join(warnings[:5])
        raise PriorsError(f"{path}: no row is a concept of the vocabulary and a count\n{told}".rstrip())
    return Counts(_with_broader(found, taxonomy), tuple(warnings))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _with_broader(counts: Mapping[str, float], taxonomy: Taxonomy) -> dict[str, float]:
    """Whoever sees a bowl sees a vessel."""
    found = dict(counts)
    for concept_id, count in counts.items():
        for above in taxonomy.ancestors(concept_id):
            found[above] = max(found.get(above, 0.0), count)
    return found


def logit_adjustment(counts: Mapping[str, float], concept_ids: Sequence[str], weight: float) -> Shifts:
    """`weight * log prior` of each concept, less the mean of all, so that probabilities stay where they were on the whole.

    1 is Bayes' rule for scores that were learned with all concepts alike; -1 takes the prior out of scores that learned it,
    which is the adjustment of Menon et al., equation 9 (tau = 1). What the catalogue never has counts `UNSEEN` times.
    """
    logs = np.log([max(counts.get(concept_id, 0.0), UNSEEN) for concept_id in concept_ids])
    return np.asarray(weight * (logs - logs.mean()))


def distribution_alignment(
    counts: Mapping[str, float], said: NDArray[np.floating], concept_ids: Sequence[str], weight: float
) -> Shifts:
    """As `logit_adjustment`, less how often the models say each concept: `weight * log(prior / mean probability)`.

    said: mean probability of each concept over some pictures, 0..1, `[concepts]`.
    """
    logs = np.log(np.maximum(said, _LEAST_ODDS))
    return logit_adjustment(counts, concept_ids, weight) - weight * (logs - logs.mean())


def shifted(probabilities: NDArray[np.floating], shifts: Shifts) -> NDArray[np.float32]:
    """Probabilities 0..1 `[images, concepts]`, their log odds moved by `shifts` `[concepts]`."""
    from scipy.special import expit, logit  # takes a fifth of the code location's loading time otherwise

    bounded = np.clip(probabilities.astype(np.float64), _LEAST_ODDS, 1 - _LEAST_ODDS)
    return np.asarray(expit(logit(bounded) + shifts), dtype=np.float32)


def write_home_priors(home: Home, priors: HomePriors) -> None:
    with replace_file(home.root / FILE) as file:
        file.write(json.dumps(asdict(priors), indent=1, ensure_ascii=False).encode() + b"\n")


def read_home_priors(home: Home, encoder: str) -> HomePriors | None:
    """The home's, where they hold for the encoder of that fingerprint. Raises PriorsError for a file that is none."""
    path = home.root / FILE
    if not path.is_file():
        return None
    try:
        found = HomePriors(**json.loads(path.read_text(encoding="utf-8")))
        if not all(np.isfinite(shift) for shift in found.shifts.values()):
            raise ValueError("a shift is no number")
    except (ValueError, TypeError, AttributeError) as error:
        raise PriorsError(f"{path}: {error}. Delete it, or run vistag calibrate --priors again") from error
    return found if found.encoder in ("", encoder) else None


def remove_home_priors(home: Home) -> bool:
    """Whether there were any."""
    there = (home.root / FILE).exists()
    (home.root / FILE).unlink(missing_ok=True)
    return there
