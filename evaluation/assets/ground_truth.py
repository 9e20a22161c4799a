"""`ground_truth`, `ground_truth_regions`, `ground_truth_images`, `ground_truth_concepts`: what is true, by image."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from evaluation import from_lake, held_out
from evaluation.assets.declaration import declared
from evaluation.readers.ground_truth import read_ground_truth
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL

_TRUTH = pa.schema([("id", pa.string()), ("concept_id", pa.string())])
_IMAGES = pa.schema([("id", pa.string())])
_CONCEPTS = pa.schema([("concept_id", pa.string())])


def _spec(name: str, schema: pa.Schema, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name, deps=["images"], description=description, **declared(version="1", schema=schema)
    )


@dg.multi_asset(
    name="read_ground_truth",
    pool=EVALUATION_POOL,
    specs=[
        _spec("ground_truth", _TRUTH, "One row a true tag of an image in the lake."),
        _spec(
            "ground_truth_regions",
            from_lake.GROUND_TRUTH_REGIONS,
            "One row a true region: its box and, where somebody drew one, its mask.",
        ),
        _spec("ground_truth_images", _IMAGES, "The annotated images in the lake, also those without tags."),
        _spec("ground_truth_concepts", _CONCEPTS, "The evaluated vocabulary, also what no image carries."),
    ],
)
def ground_truth(vistag: VistagResource) -> Iterator[dg.MaterializeResult[None]]:
    workspace = vistag.open()
    names = from_lake.image_names(workspace.home, workspace.settings.ground_truth_library)
    truth = read_ground_truth(workspace.home.ground_truth_path)
    matched = from_lake.match_ground_truth(truth, names)
    cards = held_out.cards_of(workspace.tier)
    evaluated = pc.is_in(names["id"], value_set=matched.images["id"].combine_chunks())
    held_out.refuse_seen(cards, truth.splits, names.filter(evaluated))
    known = {concept.id for concept in workspace.taxonomy.concepts}
    strangers = sorted(set(matched.concepts["concept_id"].to_pylist()) - known)
    metadata: dict[str, int | str] = {
        "images_not_in_lake": matched.images_not_in_lake,
        "concepts_not_in_taxonomy": len(strangers),
        "such_as": ", ".join(strangers[:10]),
        "splits": ", ".join(truth.splits) or "not said",
        "models_with_training_card": ", ".join(card.role for card in cards),
    }
    for table, rows in {
        "ground_truth": matched.truth,
        "ground_truth_regions": matched.regions,
        "ground_truth_images": matched.images,
        "ground_truth_concepts": matched.concepts,
    }.items():
        workspace.lake.write(table, rows)
        yield dg.MaterializeResult(table, metadata={"dagster/row_count": rows.num_rows, **metadata})
