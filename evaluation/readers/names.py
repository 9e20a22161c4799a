"""Names that differ only in how they are written: spaces, letter case, Unicode's composed and decomposed letters."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.readers.tables import Predictions, Rows, Truth

_SHOWN = 5


def same_files(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Name of a file -> the one of `known` that is the same file, where just one is.

    By its path; else where one path ends with the other; else, without folders, by the name without its ending.
    """
    known = list(known)
    paths, by_name, by_stem = set(known), dict[str, list[str]](), dict[str, list[str]]()
    for path in known:
        by_name.setdefault(PurePosixPath(path).name, []).append(path)
        by_stem.setdefault(PurePosixPath(path).stem, []).append(path)
    found = {}
    for name in names:
        own = PurePosixPath(name.replace("\\", "/"))
        ends = [
            path
            for path in by_name.get(own.name, ())
            if f"/{path}".endswith(f"/{own}") or f"/{own}".endswith(f"/{path}")
        ]
        bare = [path for path in by_stem.get(own.stem, ()) if "/" not in path or len(own.parts) == 1]
        candidates = [name] if name in paths else ends or ([] if by_name.get(own.name) else bare)
        if len(candidates) == 1:
            found[name] = candidates[0]
    return found


def normalised(name: str) -> str:
    """The same for names that differ only in spaces, letter case and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def near_equal(names: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """Name -> another that is written almost like it: an earlier one of `names`, or one of `known`."""
    first: dict[str, str] = {}
    for name in known:
        first.setdefault(normalised(name), name)
    found = {}
    for name in names:
        other = first.setdefault(normalised(name), name)
        if other != name:
            found[name] = other
    return found


def near_equal_remark(where: str, pairs: Mapping[str, str]) -> str:
    shown = ", ".join(f"{name!r} and {other!r}" for name, other in [*pairs.items()][:_SHOWN])
    more = f" and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
    return f"{where}: nearly equal names count as different ones: {shown}{more} (--normalise-names makes them one)."


def with_normalised_names(truth: Truth, predictions: Predictions) -> tuple[Truth, Predictions]:
    """Both with one spelling of each name of a concept or image: the first that the ground truth lists."""
    concepts = _spelling(truth.concepts["concept_id"])
    images = _spelling(truth.images["name"])
    tables = {
        name: table and _renamed(table, "concept_id", concepts)
        for name in ("tags", "boxes", "negatives", "not_exhaustive")
        for table in [getattr(truth, name)]
    }
    tables["tags"] = tables["tags"].group_by(["id", "concept_id"]).aggregate([])
    truth = replace(truth, concepts=_renamed(truth.concepts, "concept_id", concepts), **tables)
    if predictions.by_id:
        return truth, predictions

    def same(rows: Rows | None) -> Rows | None:
        return rows and Rows(
            _renamed(_renamed(rows.table, "concept", concepts), "image", images), rows.origin
        )

    return truth, replace(predictions, tags=same(predictions.tags), boxes=same(predictions.boxes))


def _spelling(names: pa.ChunkedArray) -> dict[str, str]:
    """Normalised name -> the first that is written so."""
    spelling: dict[str, str] = {}
    for name in names.to_pylist():
        spelling.setdefault(normalised(name), name)
    return spelling


def _renamed(table: pa.Table, column: str, spelling: Mapping[str, str]) -> pa.Table:
    distinct = pc.unique(table[column])
    names = pa.array([spelling.get(normalised(name), name) for name in distinct.to_pylist()], pa.string())
    column_index = table.column_names.index(column)
    renamed = names.take(pc.index_in(table[column], value_set=distinct))
    return table.set_column(column_index, table.schema.field(column), renamed)
