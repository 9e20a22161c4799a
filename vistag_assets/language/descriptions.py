"""A catalogue text an image whose claims cite regions, by the schema in resources/models/vlms."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import dagster as dg
import pyarrow as pa
from PIL import Image

from resources.checked import checked
from resources.models.vlms import Answer, TextModel, Unanswered, Vlm, VlmSpec
from resources.models.vlms.description import description_schema, parse_description
from resources.workspace import VistagResource
from taxonomy import Taxonomy
from vistag_assets.folder_asset import Batch, Folder, Proxies, Row, Rows, folder_asset, in_batches_of_images
from vistag_assets.language.describing import Form, describe, needs_rewriting
from vistag_assets.language.image_context import ImageContext, gather_context
from vistag_assets.lineage import answered, by_id, derived, joined
from vistag_assets.whole_image.asking import (
    IMAGES_AT_ONCE,
    Failed,
    about_vlm,
    failed_of,
    preview_texts,
    rows_of_all,
)
from vistag_assets.whole_image.quotes import requoted

MIN_VALID_SHARE = 0.99


_shown = preview_texts("descriptions", "title", "description", "lane")


@folder_asset(
    "Describing images", "described", role="vlm", version=2, preview=_shown, about=about_vlm("description")
)
def descriptions(
    folder: Folder,
    proxies: Proxies,
    captions: pa.Table,
    ocr_text: pa.Table | None,
    grounded_regions: pa.Table | None,
    tag_scores: pa.Table | None,
    routing: pa.Table | None,
) -> Rows:
    """Images that `routing` sends to the heavy lane get its model."""
    workspace = folder.workspace
    context = gather_context(captions, ocr_text, grounded_regions, tag_scores, routing, workspace.taxonomy)

    def vlm_of(id_: str) -> Vlm:
        return workspace.heavy_vlm if context.lane(id_) == "heavy" else workspace.vlm

    def fingerprint_of(id_: str) -> str:
        vlm = vlm_of(id_)
        return context.fingerprint(
            id_, vlm.fingerprint, vlm.spec.caption_question, vlm.spec.question("description")
        )

    of_context = {id_: fingerprint_of(id_) for id_ in captions["id"].to_pylist()}
    regions = [] if grounded_regions is None else [answered(grounded_regions)]
    wanted = derived(
        joined(by_id(of_context), captions, proxies, *regions),
        taxonomy=workspace.taxonomy.fingerprint,
        limits=repr(_limits(workspace.vlm.spec)),
        heavy_limits=repr(_limits(workspace.tier.heavy_vlm or workspace.vlm.spec)),
        version=folder.version,
        **({"repair": workspace.repair.fingerprint} if workspace.repair else {}),
    )

    def describe_lanes(ids: list[str], images: list[Image.Image]) -> Batch:
        rows: list[Row] = []
        failed: Failed = {}
        for lane in sorted(set(map(context.lane, ids))):
            own = {id_: image for id_, image in zip(ids, images, strict=True) if context.lane(id_) == lane}
            described, unanswered = _described(
                vlm_of(next(iter(own))), workspace.repair, own, context, workspace.taxonomy
            )
            rows += described
            failed |= unanswered
        return Batch(ids, rows, failed)

    at_once = workspace.vlm.spec.batches_at_once
    return Rows(wanted, in_batches_of_images(IMAGES_AT_ONCE, folder.opener(proxies), describe_lanes, at_once))


def _described(
    vlm: Vlm,
    repair: TextModel | None,
    images: Mapping[str, Image.Image],
    context: ImageContext,
    taxonomy: Taxonomy,
) -> tuple[list[Row], Failed]:
    """Rows of images (by id) of one lane."""
    ids = list(images)
    captions = {id_: context.captions[id_] for id_ in ids}
    failed: Failed = {}
    if context.lane(ids[0]) == "heavy":
        asked = [context.caption_prompt(id_, vlm.spec.caption_question) for id_ in ids]
        answers_of_lane = vlm.answer(list(images.values()), asked, max_tokens=vlm.spec.caption_tokens)
        failed = failed_of(ids, answers_of_lane)
        captions = {
            id_: requoted(answer.text, context.text.get(id_, ()))
            for id_, answer in zip(ids, answers_of_lane, strict=True)
            if isinstance(answer, Answer)
        }
    question = vlm.spec.question("description")
    answers: Sequence[Answer | Unanswered | None] = [None] * len(captions)
    if question:
        answers = vlm.answer(
            [images[id_] for id_ in captions],
            [context.prompt(id_, question) for id_ in captions],
            max_tokens=vlm.spec.description_tokens,
            schema=description_schema() if question.free else None,
        )
    form: Form = "json" if question and question.free else "prose"
    rewritten = _rewritten(repair, dict(zip(captions, answers, strict=True)), form)
    rows = [
        {
            "id": id_,
            "lane": context.lane(id_),
            "caption": caption,
            **asdict(
                describe(
                    answer.text if answer else "",
                    form=form,
                    rewritten=rewritten.get(id_),
                    finished=answer is None or answer.finished,
                    known=context.known(id_, caption),
                    taxonomy=taxonomy,
                    words=vlm.spec.description_words,
                )
            ),
        }
        for (id_, caption), answer in zip(captions.items(), answers, strict=True)
        if not isinstance(answer, Unanswered)
    ]
    return rows, failed | failed_of(list(captions), answers)


def _rewritten(
    repair: TextModel | None, answers: Mapping[str, Answer | Unanswered | None], form: Form
) -> dict[str, str]:
    """By id: what a text-only model made of the answers that the rules of form make nothing of."""
    parsed = {id_: answer.text for id_, answer in answers.items() if isinstance(answer, Answer)}
    unformed = [id_ for id_, text in parsed.items() if repair and needs_rewriting(text, form)]
    if not repair or not unformed:
        return {}
    put = repair.rewrite([parsed[id_] for id_ in unformed], description_schema())
    return {id_: answer.text for id_, answer in zip(unformed, put, strict=True)}


def _limits(spec: VlmSpec) -> tuple[int, int, tuple[int, int]]:
    return spec.caption_tokens, spec.description_tokens, spec.description_words


@dg.asset_check(
    asset="descriptions", description="Answers of the model fit the schema; all that is stored does."
)
def descriptions_fit_the_schema(vistag: VistagResource) -> dg.AssetCheckResult:
    rows = list(rows_of_all(vistag.open().lake, "descriptions", ["valid", "json"]))
    asked = [row["valid"] for row in rows if row["valid"] is not None]  # others were asked for no JSON
    valid = sum(asked)
    wrong = sum(row["json"] is not None and parse_description(row["json"]) is None for row in rows)
    stored = checked(
        "descriptions",
        len(rows),
        wrong,
        right="fit the schema",
        fault="do not fit the schema as they are stored",
    )
    answered = checked(
        "answers of the model",
        len(asked),
        len(asked) - valid,
        right="fit it before they were mended",
        fault="did not fit it before they were mended",
        allowed_share=1 - MIN_VALID_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
    )
    worse = answered if stored.passed else stored
    return worse._replace(description=f"{stored.description} {answered.description}")


@dg.asset_check(
    asset="descriptions",
    additional_deps=["grounded_regions"],
    description="Every region that a claim cites is one of its image.",
)
def descriptions_cite_their_own_regions(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    rows = rows_of_all(lake, "descriptions", ["id", "claims"])
    regions = rows_of_all(lake, "grounded_regions", ["id", "region_id"])
    own = {(row["folder"], row["id"], row["region_id"]) for row in regions}
    cited = [
        (row["folder"], row["id"], region)
        for row in rows
        for claim in row["claims"]
        for region in claim["region_ids"]
    ]
    unknown = sum(pair not in own for pair in cited)
    return checked(
        "citations",
        len(cited),
        unknown,
        right="are of a region of their image",
        fault="are of no region of their image; run its folder again",
    )
