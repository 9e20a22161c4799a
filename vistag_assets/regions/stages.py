"""What `candidates` and `grounded_regions` do for one folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.images import open_proxy
from resources.lake import UpdateStats, update_partition, with_empty_ids
from resources.models.detectors import Detector
from resources.models.encoders import prefetch
from resources.workspace import Workspace
from vistag_assets.lineage import answered, column_by_id, derived, of_ids
from vistag_assets.progress import Meter
from vistag_assets.regions.grounding import GROUNDED_REGIONS, Asked, asked_of, in_chunks, to_regions
from vistag_assets.regions.overlay import OTHER_COLOUR, Marked, draw_regions
from vistag_assets.regions.regions_json import update_regions_json
from vistag_assets.regions.short_list import CANDIDATES, Bars, short_lists

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

# To be raised when a stage would compute other rows from the same inputs.
CANDIDATES_VERSION = 1
GROUNDING_VERSION = 1


def list_candidates(workspace: Workspace, key: str, meter: Meter) -> UpdateStats:
    """Bring `candidates` of a folder up to date with its tag scores, and with its captions where it has any."""
    bars = Bars()
    scores = workspace.lake.read(
        "tag_scores", key, ["id", "concept_id", "probability", "inherited_from", "fingerprint"]
    )
    captions = workspace.lake.read_or_none("captions", key, ["id", "keywords", "fingerprint"])
    captioned = column_by_id(captions, "fingerprint") if captions is not None else {}
    scored = derived(answered(scores), bars=repr(bars), version=CANDIDATES_VERSION)
    wanted = pa.table(
        {
            "id": scored["id"],
            "fingerprint": pa.array(
                [
                    fingerprint(scores=row["fingerprint"], caption=captioned.get(row["id"]))
                    for row in scored.to_pylist()
                ],
                pa.string(),
            ),
        }
    )

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        with meter.timed():
            missing = of_ids(wanted, ids)
            keywords = (
                dict(zip(captions["id"].to_pylist(), captions["keywords"].to_pylist(), strict=True))
                if captions is not None
                else {}
            )
            for rows, empty in short_lists(missing, scores, keywords, workspace.taxonomy, bars):
                yield with_empty_ids(rows, empty)

    return update_partition(
        workspace.lake, "candidates", key, wanted, CANDIDATES, compute, on_progress=meter.folder()
    )


def ground_regions(workspace: Workspace, key: str, meter: Meter) -> UpdateStats:
    """Bring `grounded_regions` of a folder, and the regions.json of its images, up to date with its candidates.

    An image is sent to the detector again only if other phrases are asked of it, whatever else has changed in
    its candidates.
    """
    detector, spec, home_root = workspace.detector, workspace.detector.spec, workspace.home.root
    candidates = workspace.lake.read("candidates", key)
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    path_of = column_by_id(proxies, "path")
    proxy_of = column_by_id(proxies, "fingerprint")
    asked = asked_of(candidates.select(["id", "phrase", "concept_id"]).to_pylist())
    ids = [id_ for id_ in answered(candidates)["id"].to_pylist() if id_ in path_of]
    fingerprint_of = {
        id_: fingerprint(
            proxy=proxy_of[id_],
            asked=[[phrase, *concepts] for phrase, concepts in asked.get(id_, {}).items()],
            detector=detector.fingerprint,
            spec=[spec.chunk_phrases, spec.nms_iou, spec.max_regions],
            version=GROUNDING_VERSION,
        )
        for id_ in ids
    }
    wanted = pa.table(
        {"id": pa.array(ids, pa.string()), "fingerprint": pa.array(fingerprint_of.values(), pa.string())}
    )

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        detector.load()
        with meter.timed():
            opened = prefetch(
                ids, lambda id_: open_proxy(home_root, path_of[id_]), workers=2, depth=2 * spec.batch_size
            )
            for batch in _batches(opened, spec.batch_size):
                rows, empty = _ground(detector, batch, asked, fingerprint_of)
                yield with_empty_ids(pa.Table.from_pylist(rows, schema=GROUNDED_REGIONS), empty)

    stats = update_partition(
        workspace.lake, "grounded_regions", key, wanted, GROUNDED_REGIONS, compute, on_progress=meter.folder()
    )
    update_regions_json(workspace, key)
    return stats


def overlays(workspace: Workspace, key: str, ids: Sequence[str], count: int) -> dict[str, Image.Image]:
    """The proxies of some images of a folder with their `count` best regions drawn in, in the order of `ids`."""
    taxonomy = workspace.taxonomy
    path_of = column_by_id(workspace.lake.read("proxies", key, ["id", "path"]), "path")
    rows = workspace.lake.read("grounded_regions", key, ["id", "concept_id", "phrase", "bbox", "score"])
    marked: dict[str, list[Marked]] = {id_: [] for id_ in ids}
    for row in of_ids(rows, ids).to_pylist():
        concept = row["concept_id"]
        colour = taxonomy.facet_of(concept).colour if concept in taxonomy.by_id else OTHER_COLOUR
        marked[row["id"]].append(Marked(row["bbox"], row["phrase"], row["score"], colour))
    return {
        id_: draw_regions(open_proxy(workspace.home.root, path_of[id_]), marked[id_][:count]) for id_ in ids
    }


def _ground(
    detector: Detector,
    batch: Sequence[tuple[str, Image.Image]],
    asked: Mapping[str, Asked],
    fingerprint_of: Mapping[str, str],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of `GROUNDED_REGIONS` of some images, and (id -> fingerprint) of those without a region."""
    spec = detector.spec
    chunks = {id_: in_chunks(asked.get(id_, {}), spec.chunk_phrases) for id_, _ in batch}
    found = iter(
        detector.detect(
            [image for id_, image in batch for _ in chunks[id_]],
            [chunk for id_, _ in batch for chunk in chunks[id_]],
        )
    )
    rows: list[dict[str, Any]] = []
    empty: dict[str, str] = {}
    for id_, _ in batch:
        regions = [
            region | {"id": id_, "fingerprint": fingerprint_of[id_]}
            for region in to_regions(
                id_,
                asked.get(id_, {}),
                chunks[id_],
                [next(found) for _ in chunks[id_]],
                spec.nms_iou,
                spec.max_regions,
            )
        ]
        rows += regions
        if not regions:
            empty[id_] = fingerprint_of[id_]
    return rows, empty


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
