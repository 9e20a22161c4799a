"""`ground_truth`, `ground_truth_regions`, `ground_truth_images`, `ground_truth_concepts`: what is true, by image."""

import pyarrow.compute as pc

from evaluation import from_lake, held_out
from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.from_lake import TruthOrigin
from evaluation.readers.converting import by_concepts
from evaluation.readers.ground_truth import read_ground_truth
from evaluation.stored import with_figures
from resources.workspace import Workspace


@evaluation_asset(
    "ground_truth",
    "ground_truth_regions",
    "ground_truth_images",
    "ground_truth_concepts",
    reads=["images"],
    version=2,
)
def ground_truth(workspace: Workspace) -> Made:
    names = from_lake.image_names(workspace.home, workspace.settings.ground_truth_library)
    named = by_concepts(read_ground_truth(workspace.home.ground_truth_path), workspace.taxonomy)
    truth = named.truth
    matched = from_lake.match_ground_truth(truth, names)
    cards = held_out.cards_of(workspace.tier, workspace.home)
    evaluated = pc.is_in(names["id"], value_set=matched.images["id"].combine_chunks())
    held_out.refuse_seen(cards, truth.splits, names.filter(evaluated))
    strangers = sorted(named.strangers)
    return Made(
        {
            "ground_truth": with_figures(matched.truth, TruthOrigin, TruthOrigin(truth.of_keywords)),
            "ground_truth_regions": matched.regions,
            "ground_truth_images": matched.images,
            "ground_truth_concepts": matched.concepts,
        },
        {
            "images_not_in_lake": matched.images_not_in_lake,
            "concepts_by_label": len(named.matched),
            "concepts_not_in_taxonomy": len(strangers),
            "such_as": ", ".join(strangers[:10]),
            "splits": ", ".join(truth.splits) or "not said",
            "models_with_training_card": ", ".join(card.role for card in cards),
        },
    )
