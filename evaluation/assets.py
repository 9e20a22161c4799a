"""The assets from ground truth and tags to the long-tail report."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa

from evaluation import from_lake
from evaluation.bands import BANDS, FREQUENCY_BANDS_SCHEMA
from evaluation.bands import frequency_bands as cut_into_bands
from evaluation.figures import Throughput, figures_json
from evaluation.ground_truth import read_ground_truth
from evaluation.metrics import TAG_RECALL_SCHEMA
from evaluation.report import LongTailReport, render_html, render_markdown
from resources.images import open_proxy
from resources.lake.files import replace_file
from resources.metadata import OWNERS, column_schema, thumbnail_uri
from resources.workbench import VistagResource

REPORT = "long_tail"
MEASURED_ASSETS = ("images", "global_embeddings", "tag_scores")
# Materialisations looked back through for the last that had something to do.
_LOOK_BACK = 200

_TRUTH = pa.schema([("id", pa.string()), ("concept_id", pa.string())])
_IMAGES = pa.schema([("id", pa.string())])
_CONCEPTS = pa.schema([("concept_id", pa.string())])


def _spec(name: str, schema: pa.Schema, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=["images"],
        description=description,
        metadata=column_schema(schema),
        group_name="evaluation",
        kinds={"parquet"},
        owners=OWNERS,
        code_version="1",
    )


@dg.multi_asset(
    name="read_ground_truth",
    specs=[
        _spec("ground_truth", _TRUTH, "One row a true tag of an image in the lake."),
        _spec("ground_truth_images", _IMAGES, "The annotated images in the lake, also those without tags."),
        _spec("ground_truth_concepts", _CONCEPTS, "The evaluated vocabulary, also what no image carries."),
    ],
)
def ground_truth(vistag: VistagResource) -> Iterator[dg.MaterializeResult[None]]:
    bench = vistag.open()
    names = from_lake.image_names(bench.home, bench.settings.ground_truth_library)
    matched = from_lake.match_ground_truth(read_ground_truth(bench.home.ground_truth_path), names)
    known = {concept.id for concept in bench.taxonomy.concepts}
    strangers = sorted(set(matched.concepts["concept_id"].to_pylist()) - known)
    metadata: dict[str, int | str] = {
        "images_not_in_lake": matched.images_not_in_lake,
        "concepts_not_in_taxonomy": len(strangers),
        "such_as": ", ".join(strangers[:10]),
    }
    for table, rows in (
        ("ground_truth", matched.truth),
        ("ground_truth_images", matched.images),
        ("ground_truth_concepts", matched.concepts),
    ):
        bench.lake.write(table, rows)
        yield dg.MaterializeResult(table, metadata={"dagster/row_count": rows.num_rows, **metadata})


@dg.asset(
    deps=["ground_truth", "ground_truth_concepts"],
    description="Tags by how many images carry them: head, body, tail, and those without support.",
    metadata=column_schema(FREQUENCY_BANDS_SCHEMA),
    group_name="evaluation",
    kinds={"parquet", "duckdb"},
    owners=OWNERS,
    code_version="1",
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
    deps=["tag_scores", "ground_truth", "ground_truth_images", "frequency_bands"],
    description="Recall@1/5/10/20 of head, body, tail and overall, with supports, ceilings and intervals.",
    metadata=column_schema(TAG_RECALL_SCHEMA),
    group_name="evaluation",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version="1",
)
def tag_recall(vistag: VistagResource) -> dg.MaterializeResult[None]:
    bench = vistag.open()
    tags = from_lake.evaluate(bench, throughput={}).tags
    assert tags is not None
    bench.lake.write("tag_recall", tags.recall_rows())
    micro = {f"recall@10_{figure.band}": figure.micro for figure in tags.recall if figure.k == 10}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(tags.recall),
            "images": tags.images,
            "ranked_concepts": tags.ranked_concepts,
            "tier": bench.tier.name,
            **micro,
            **({"gap@10": tags.gap.value} if tags.gap else {}),
        }
    )


@dg.asset(
    deps=["tag_recall"],
    description="How well rare tags are recovered: a page, the same as Markdown, and the figures as JSON.",
    group_name="evaluation",
    kinds={"html", "markdown"},
    owners=OWNERS,
    code_version="1",
)
def long_tail_report(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    bench = vistag.open()
    figures = from_lake.evaluate(bench, _throughput(context.instance))
    assert figures.tags is not None
    examples = {
        concept_id: [thumbnail_uri(open_proxy(bench.home.root, path)) for path in paths]
        for concept_id, paths in from_lake.example_images(bench.lake, figures.tags).items()
    }
    report = LongTailReport(
        figures,
        created_at=datetime.now(UTC),
        model=bench.tier.encoder.name,
        taxonomy_fingerprint=bench.taxonomy.fingerprint,
        labels={concept.id: concept.pref_label for concept in bench.taxonomy.concepts},
        examples=examples,
    )
    markdown = render_markdown(report)
    page = bench.home.reports_dir / f"{REPORT}.html"
    for path, text in (
        (page, render_html(report)),
        (page.with_suffix(".md"), markdown),
        (page.with_suffix(".json"), json.dumps(figures_json(figures), indent=2) + "\n"),
    ):
        with replace_file(path) as file:
            file.write(text.encode())
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(page), "report": dg.MetadataValue.md(markdown)}
    )


def _throughput(instance: dg.DagsterInstance) -> dict[str, Throughput]:
    """Of each asset, the speed of the last run that had something to do."""
    speeds: dict[str, Throughput] = {}
    for asset in MEASURED_ASSETS:
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=_LOOK_BACK).records
        for record in records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            if "images_per_second" in metadata:
                per_second = metadata["images_per_second"].value
                assert isinstance(per_second, float)
                speeds[asset] = Throughput(per_second, str(metadata["device"].value))
                break
    return speeds
