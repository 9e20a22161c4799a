"""The assets from ground truth and tags to the long-tail report."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from evaluation import compute as parts
from evaluation import from_lake, held_out, history
from evaluation.figures import HEADLINE_K, Throughput
from evaluation.figures_json import figures_json
from evaluation.ground_truth import read_ground_truth
from evaluation.metrics.ablation import ladder_table
from evaluation.metrics.bands import BANDS
from evaluation.metrics.bands import frequency_bands as cut_into_bands
from evaluation.metrics.grounding import GROUNDING_RECALL_SCHEMA
from evaluation.metrics.phrase_grounding import phrase_grounding_rows
from evaluation.record import against_baseline, record_run
from evaluation.report import LongTailReport, render_html, render_markdown
from evaluation.report.files import write_report
from evaluation.report.view import headline
from evaluation.state import EVALUATED_STATE, evaluated_files
from resources import tables
from resources.images import open_proxy
from resources.lake.versions import state
from resources.metadata import OWNERS, column_schema, thumbnail_uri
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL

REPORT = "long_tail"
MEASURED_ASSETS = (
    "images",
    "proxies",
    "global_embeddings",
    "tag_scores",
    "ocr_text",
    "captions",
    "candidates",
    "grounded_regions",
    "region_masks",
    "region_embeddings",
    "region_matches",
    "region_captions",
    "routing",
    "descriptions",
    "tags",
)
# Materialisations looked back through for the last that had something to do.
_LOOK_BACK = 200

_TRUTH = pa.schema([("id", pa.string()), ("concept_id", pa.string())])
_IMAGES = pa.schema([("id", pa.string())])
_CONCEPTS = pa.schema([("concept_id", pa.string())])
_TAGS = "tags of the band"


def _spec(name: str, schema: pa.Schema, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=["images"],
        description=description,
        metadata=column_schema(tables.TABLES[name]),
        group_name="evaluation",
        kinds={"parquet"},
        owners=OWNERS,
        code_version="1",
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
    held_out.refuse_seen(
        cards,
        truth.splits,
        names.filter(pc.is_in(names["id"], value_set=matched.images["id"].combine_chunks())),
    )
    known = {concept.id for concept in workspace.taxonomy.concepts}
    strangers = sorted(set(matched.concepts["concept_id"].to_pylist()) - known)
    metadata: dict[str, int | str] = {
        "images_not_in_lake": matched.images_not_in_lake,
        "concepts_not_in_taxonomy": len(strangers),
        "such_as": ", ".join(strangers[:10]),
        "splits": ", ".join(truth.splits) or "not said",
        "models_with_training_card": ", ".join(card.role for card in cards),
    }
    for table, rows in (
        ("ground_truth", matched.truth),
        ("ground_truth_regions", matched.regions),
        ("ground_truth_images", matched.images),
        ("ground_truth_concepts", matched.concepts),
    ):
        workspace.lake.write(table, rows)
        yield dg.MaterializeResult(table, metadata={"dagster/row_count": rows.num_rows, **metadata})


@dg.asset(
    deps=["ground_truth", "ground_truth_concepts"],
    description="Tags by how many images carry them: head, body, tail, and those without support.",
    metadata=column_schema(tables.FREQUENCY_BANDS),
    group_name="evaluation",
    kinds={"parquet", "duckdb"},
    owners=OWNERS,
    code_version="1",
    pool=EVALUATION_POOL,
)
def frequency_bands(vistag: VistagResource) -> dg.MaterializeResult[None]:
    lake = vistag.open().lake
    concepts = lake.read("ground_truth_concepts")["concept_id"].to_pylist()
    bands = cut_into_bands(lake.read("ground_truth"), concepts)
    lake.write("frequency_bands", bands)
    counts = bands["band"].to_pylist()
    return dg.MaterializeResult(
        metadata={"dagster/row_count": bands.num_rows}
        | {f"tags_{band}": counts.count(band) for band in (*BANDS, "zero")}
    )


@dg.asset(
    deps=["tags", "tag_scores", "ground_truth", "ground_truth_images", "frequency_bands"],
    description="Recall@1/5/10/20 of head, body, tail and overall, with supports, ceilings and intervals: "
    "of the final tags, or of the embeddings alone where there are none.",
    metadata=column_schema(tables.TAG_RECALL),
    group_name="evaluation",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version="2",
    pool=EVALUATION_POOL,
)
def tag_recall(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    from_lake.require_answers(workspace.lake, "tag_scores", "tag scores")
    final = from_lake.final_tags(workspace.lake)
    scored = from_lake.embedding_scores(workspace.lake) if final is None else final
    tags = from_lake.evaluate_tags(workspace, scored)
    workspace.lake.write("tag_recall", tags.recall_rows())
    micro = {f"recall@10_{figure.band}": figure.micro for figure in tags.recall if figure.k == 10}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(tags.recall),
            "images": tags.images,
            "ranked_concepts": tags.ranked_concepts,
            "tier": workspace.tier.name,
            "of": "tag_scores" if final is None else "tags",
            EVALUATED_STATE: state(evaluated_files(workspace.home, workspace.settings.ground_truth_library)),
            **micro,
            **({"gap@10": tags.gap.value} if tags.gap else {}),
        }
    )


@dg.asset(
    deps=[
        "grounded_regions",
        "region_masks",
        "ground_truth_regions",
        "ground_truth_images",
        "frequency_bands",
    ],
    description="Recall and precision of the true regions at IoU 0.5, 0.75 and 0.5:0.95, by band, as LVIS counts.",
    metadata=column_schema(tables.GROUNDING_RECALL),
    group_name="evaluation",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version="2",
    pool=EVALUATION_POOL,
)
def grounding_recall(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    grounding, masks = parts.regions(workspace.lake)
    rows = grounding.rows() if grounding else GROUNDING_RECALL_SCHEMA.empty_table()
    workspace.lake.write("grounding_recall", rows)
    figures = grounding.recall if grounding else ()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.num_rows,
            "tier": workspace.tier.name,
            **{f"recall@{f.iou}_{f.band}": f.micro for f in figures},
            **({"regions_over_the_cap": grounding.over_the_cap} if grounding else {}),
            **({"mean_mask_iou": masks.mean_iou} if masks else {}),
        }
    )


@dg.asset(
    deps=["grounded_regions", "ground_truth_regions", "ground_truth_images", "frequency_bands"],
    description="Of the concepts that have true regions in an image, those whose best region is on one, by band.",
    metadata=column_schema(tables.PHRASE_GROUNDING),
    group_name="evaluation",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version="1",
    pool=EVALUATION_POOL,
)
def phrase_grounding(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    figures = parts.phrases(workspace.lake)
    workspace.lake.write("phrase_grounding", phrase_grounding_rows(figures))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(figures),
            "tier": workspace.tier.name,
            **{f"accuracy_{figure.band}": figure.micro for figure in figures},
        }
    )


@dg.asset(
    deps=["tag_recall", "grounding_recall"],
    description="One row an evaluation, with its figures and the rank of every true tag: what later runs are held "
    "against. Each materialisation adds one.",
    metadata=column_schema(tables.EVALUATION_HISTORY),
    group_name="evaluation",
    kinds={"parquet"},
    owners=OWNERS,
    code_version="1",
    pool=EVALUATION_POOL,
)
def evaluation_history(
    context: dg.AssetExecutionContext, vistag: VistagResource
) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    run = record_run(workspace, datetime.now(UTC), context.run.run_id)
    return dg.MaterializeResult(
        metadata={
            "run": run.run,
            "tier": run.tier,
            "corpus": run.corpus,
            "baseline": run.baseline or "none",
            "accepted_by": run.accepted_by or "nobody",
            **{f"{model.role}_fingerprint": model.fingerprint for model in run.models},
        }
    )


@dg.asset(
    deps=["captions", "tags", "tag_scores", "grounded_regions", "ground_truth_regions", "frequency_bands"],
    description="The same images by each option, from captions alone to the full graph: tag recall@10, recall "
    "of regions, seconds an image.",
    metadata=column_schema(tables.LADDER),
    group_name="evaluation",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version="1",
    pool=EVALUATION_POOL,
)
def ladder(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    rungs = parts.option_ladder(workspace, _throughput(context.instance))
    workspace.lake.write("ladder", ladder_table(rungs))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rungs),
            "options": ", ".join(rung.option for rung in rungs),
            **{f"tail_gain_{rung.option}": rung.tail_gain for rung in rungs if rung.tail_gain is not None},
        }
    )


@dg.asset(
    deps=[
        "tag_recall",
        "grounding_recall",
        "evaluation_history",
        "ladder",
        "captions",
        "descriptions",
        "routing",
        "region_masks",
    ],
    description="How well rare tags are recovered: a page, the same as Markdown, and the figures as JSON.",
    group_name="evaluation",
    kinds={"html", "markdown"},
    owners=OWNERS,
    code_version="2",
    pool=EVALUATION_POOL,
)
def long_tail_report(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    figures = parts.evaluate(workspace, _throughput(context.instance))
    scored = from_lake.reported_tags(workspace.lake)
    ranks = from_lake.true_tag_ranks(workspace.lake, scored)
    labels = workspace.taxonomy.pref_labels
    past = history.runs(workspace.lake)
    examples = {
        concept_id: [thumbnail_uri(open_proxy(workspace.home.root, path)) for path in paths]
        for concept_id, paths in from_lake.example_images(workspace.lake, ranks).items()
    }
    report = LongTailReport(
        figures,
        created_at=datetime.now(UTC),
        model=workspace.tier.encoder.name,
        taxonomy_fingerprint=workspace.taxonomy.fingerprint,
        labels=labels,
        examples=examples,
        confusions=from_lake.tail_confusions(workspace, scored),
        calibration=from_lake.calibration(workspace, scored),
        history=[run for run in past if run.tier == workspace.tier.name],
        compared=against_baseline(workspace.lake, past[-1], labels) if past else None,
    )
    markdown = render_markdown(report)
    page = workspace.home.reports_dir / f"{REPORT}.html"
    write_report(page, render_html(report), markdown, figures_json(figures))
    recall = {figure.band: figure.micro for figure in report.tags.recall if figure.k == HEADLINE_K}
    return dg.MaterializeResult(
        metadata={
            "headline": headline(report.tags),
            "report": dg.MetadataValue.md(markdown),
            "path": dg.MetadataValue.path(page),
            **{f"recall@{HEADLINE_K}_{band}": round(micro, 4) for band, micro in recall.items()},
        }
    )


def _throughput(instance: dg.DagsterInstance) -> dict[str, Throughput]:
    """Of each asset, the speed of the last run that had something to do."""
    speeds: dict[str, Throughput] = {}
    for asset in MEASURED_ASSETS:
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=_LOOK_BACK).records
        for record in records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            if "images_per_second" in metadata and "device" in metadata:
                per_second = metadata["images_per_second"].value
                assert isinstance(per_second, float)
                speeds[asset] = Throughput(per_second, str(metadata["device"].value))
                break
    return speeds
