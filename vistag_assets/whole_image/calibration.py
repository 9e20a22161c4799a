"""What people's own labelled pictures say of a tier's probabilities: one line on the logit, kept in the home."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from resources.home import Home
from resources.lake.files import replace_file
from resources.models.encoders import Calibration, Encoder, Platt, embed_in_batches
from taxonomy import Taxonomy
from taxonomy.keywords import Meant
from vistag_assets.whole_image.home_adapter import HomeAdapter
from vistag_assets.whole_image.thresholds import Groups, Thresholds, fit_thresholds

FILE = "calibration.json"
FEWEST = 20
"""Pictures; of fewer, half of which are held out, a line says nothing."""
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_REGULARISATION = 100.0
_BINS = 15


class CalibrationError(ValueError):
    """Labelled pictures, or the file of a home, that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class HomeCalibration:
    """A line on the logits of one encoder, and what it was fitted on."""

    encoder: str
    """fingerprint; with another encoder the line is not used"""
    slope: float
    intercept: float
    folder: str
    images: int
    classes: int
    error_before: float
    """expected calibration error of the likeliest class on held-out pictures, 0..1, without the line"""
    error_after: float

    @property
    def name(self) -> str:
        return f"{self.images:,} pictures of {self.classes:,} classes in {self.folder}"


def read_home_calibration(home: Home, encoder: Encoder) -> HomeCalibration | None:
    """The home's, if it was fitted for this encoder. Raises CalibrationError for a file that is none."""
    path = home.root / FILE
    if not path.is_file():
        return None
    try:
        found = HomeCalibration(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CalibrationError(f"{path}: {error}. Delete it, or run vistag calibrate again") from error
    return found if found.encoder == encoder.fingerprint else None


def calibration_of(home: Home, encoder: Encoder) -> Calibration | None:
    """That of the home, else the checkpoint's own, else None."""
    own = read_home_calibration(home, encoder)
    return Calibration(Platt(own.slope, own.intercept)) if own else encoder.calibration


def write_home_calibration(home: Home, calibration: HomeCalibration) -> None:
    with replace_file(home.root / FILE) as file:
        file.write(json.dumps(asdict(calibration), indent=2).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and the concepts that somebody says it shows."""

    path: Path
    concept_ids: frozenset[str]


def labelled(folder: Path, taxonomy: Taxonomy) -> list[Labelled]:
    """The pictures of a folder a class, of the classes that the vocabulary has.

    Raises CalibrationError where fewer than `FEWEST` are left, or fewer than two classes, naming what is unknown.
    """
    found: list[Labelled] = []
    unknown: set[str] = set()
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
        name = path.parent.name
        concept = name if name in taxonomy.by_id else taxonomy.labels.concept_of(name.replace("_", " "))
        if concept is None:
            unknown.add(name)
        else:
            found.append(Labelled(path, frozenset({concept})))
    return _enough(found, folder, "a folder a class, named by a label", unknown)


def labelled_by_keywords(folder: Path, keywords: Iterable[tuple[Path, Meant]]) -> list[Labelled]:
    """The pictures of a folder whose keywords mean concepts of the vocabulary. Raises CalibrationError as `labelled` does."""
    told = list(keywords)
    found = [Labelled(path, meant.concepts) for path, meant in told if meant.concepts]
    unknown = {name for _, meant in told for name in meant.unknown}
    return _enough(found, folder, "pictures with keywords that are labels", unknown)


def _enough(found: list[Labelled], folder: Path, wanted: str, unknown: set[str]) -> list[Labelled]:
    if len(found) < FEWEST or len(classes_of(found)) < 2:
        told = f"; not in the vocabulary: {', '.join(sorted(unknown)[:8])}" if unknown else ""
        raise CalibrationError(
            f"{folder} holds {len(found)} pictures of classes of the vocabulary{told}. Give a folder with {wanted}, of "
            f"two classes and {FEWEST} pictures at least."
        )
    return found


def classes_of(pictures: Sequence[Labelled]) -> list[str]:
    """Ids of the concepts that some picture shows, sorted."""
    return sorted(frozenset().union(*(one.concept_ids for one in pictures)))


@dataclass(frozen=True, slots=True)
class Tried:
    """Labelled pictures as an encoder sees them."""

    classes: list[str]
    """concept ids, a column each"""
    logits: NDArray[np.float32]
    """`[pictures, classes]`"""
    is_true: NDArray[np.bool_]
    """`[pictures, classes]`; a picture of a bowl is one of a vessel too, where vessels are a class"""
    adapted: NDArray[np.float32] | None = None
    """probabilities by the home's adapter `[pictures, classes]`, of the encoder where it knows a class not; None without one"""


def tried(
    encoder: Encoder,
    concepts: tuple[Sequence[str], NDArray[np.float32]],
    pictures: Sequence[Labelled],
    taxonomy: Taxonomy,
    adapter: HomeAdapter | None = None,
) -> Tried:
    """`concepts`: ids, and their unit vectors `[n, dimension]`. Raises CalibrationError for a picture that is none."""
    ids, vectors = concepts
    classes = classes_of(pictures)
    row_of = {concept_id: row for row, concept_id in enumerate(ids)}
    chosen = vectors[[row_of[concept_id] for concept_id in classes]]
    embedded = np.concatenate([part for _, part in embed_in_batches(encoder, pictures, _picture)])
    logits = encoder.score_head.logits(embedded @ chosen.T)
    shown = [taxonomy.with_ancestors(one.concept_ids) for one in pictures]
    is_true = np.array([[class_ in some for class_ in classes] for some in shown])
    if adapter is None:
        return Tried(classes, logits, is_true)
    adapted = encoder.score_head.probabilities(logits)
    place = {concept_id: row for row, concept_id in enumerate(adapter.concept_ids)}
    known = [column for column, class_ in enumerate(classes) if class_ in place]
    rows = [place[classes[column]] for column in known]
    adapted[:, known] = adapter.probabilities(embedded)[:, rows]
    return Tried(classes, logits, is_true, adapted)


def calibrate(
    encoder: Encoder,
    before: Calibration | None,
    seen: Tried,
    source: str,
    groups: Groups | None = None,
    precision_floor: float | None = None,
) -> tuple[HomeCalibration, Thresholds]:
    """A line fitted on every other picture and tried on the rest, and thresholds of the probabilities that it makes, or of the
    adapter's where there is one; these also of the concepts that `groups` knows and no picture shows.
    """
    classes, logits, is_true = seen.classes, seen.logits, seen.is_true
    fitted = np.arange(len(logits)) % 2 == 0
    line = fit_line(logits[fitted], is_true[fitted])
    if line.slope <= 0:
        raise CalibrationError(
            f"In {source} pictures are no likelier to be of what they are labelled with. Are the labels right?"
        )
    own = before.probabilities(logits, classes) if before else encoder.score_head.probabilities(logits)
    after = Calibration(line).probabilities(logits, classes)
    calibration = HomeCalibration(
        encoder.fingerprint,
        line.slope,
        line.intercept,
        source,
        len(logits),
        len(classes),
        error_of_the_likeliest(own[~fitted], is_true[~fitted]),
        error_of_the_likeliest(after[~fitted], is_true[~fitted]),
    )
    scored = after if seen.adapted is None else seen.adapted
    return calibration, fit_thresholds(classes, scored, is_true, groups, precision_floor)


def fit_line(logits: NDArray[np.float32], is_true: NDArray[np.bool_]) -> Platt:
    """A line on the logit of each image's likeliest class, of `[images, classes]`; on those of its two likeliest where all
    of the likeliest are right or none is, which says nothing of where to doubt (Platt, 1999).
    """
    from sklearn.linear_model import LogisticRegression

    ranked = np.argsort(-logits, axis=1)
    alone = np.take_along_axis(is_true, ranked[:, :1], 1)
    taken = ranked[:, : 2 if alone.all() or not alone.any() else 1]
    told, right = np.take_along_axis(logits, taken, 1), np.take_along_axis(is_true, taken, 1)
    if not right.any():
        return Platt(0.0, 0.0)
    model = LogisticRegression(C=_REGULARISATION, max_iter=1000).fit(told.reshape(-1, 1), right.ravel())
    return Platt(float(model.coef_[0, 0]), float(model.intercept_[0]))


def _picture(one: Labelled) -> Image.Image:
    return _upright(one.path)


def _upright(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read ({error}): move it out of the folder") from error


def error_of_the_likeliest(probabilities: NDArray[np.float32], is_true: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0..1, of the likeliest class of each image, of `[images, classes]`.

    Guo et al., On Calibration of Modern Neural Networks (2017), section 2.
    """
    likeliest = probabilities.argmax(axis=1)[:, None]
    told = np.take_along_axis(probabilities, likeliest, 1)[:, 0]
    right = np.take_along_axis(is_true, likeliest, 1)[:, 0]
    bins = np.minimum((told * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(told[bins == bin_].mean()) - float(right[bins == bin_].mean()))
        * float((bins == bin_).mean())
        for bin_ in np.unique(bins)
    ]
    return float(sum(gaps))
