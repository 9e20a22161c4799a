"""What the language assets do for a folder: captions, captions of regions, descriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from resources.images import open_proxy
from resources.lake import UpdateStats, update_partition, with_empty_ids, with_failed_ids
from resources.models.repair import TextModel
from resources.models.vlms import Answer, Unanswered, Vlm, VlmSpec
from resources.models.vlms.description import description_schema
from resources.workspace import Workspace
from taxonomy import Labels, Taxonomy
from vistag_assets.language.describing import Form, describe, needs_rewriting
from vistag_assets.language.image_context import (
    Evidence,
    read_evidence,
    read_regions,
    regions_by_id,
    text_lines,
)
from vistag_assets.language.tables import CAPTIONS, DESCRIPTIONS, REGION_CAPTIONS
from vistag_assets.lineage import answered, column_by_id, derived, joined
from vistag_assets.progress import Meter
from vistag_assets.regions.boxes import Box, distinct_boxes
from vistag_assets.whole_image.caption_form import caption_problems, keywords
from vistag_assets.whole_image.quotes import requoted

# To be raised when a stage would compute other rows from the same inputs.
CAPTION_VERSION = 2
REGION_CAPTION_VERSION = 1
DESCRIPTION_VERSION = 3

IMAGES_AT_ONCE = 64
MIN_CROP_PX = 16

Rows = list[dict[str, Any]]
Failed = dict[str, str]
"""Image id -> why the model did not answer."""


def caption_images(workspace: Workspace, key: str, meter: Meter) -> UpdateStats:
    """Bring `captions` of a folder up to date with its proxies and the text read in them."""
    vlm, most = workspace.vlm, workspace.vlm.spec.caption_tokens
    question, listing = vlm.spec.caption_question, vlm.spec.question("tags")
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    text = text_lines(workspace.lake.read_or_none("ocr_text", key))
    prompts = {id_: question.about(text.get(id_, ())) for id_ in proxies["id"].to_pylist()}
    wanted = derived(
        joined(proxies, _by_id(prompts)),
        vlm=vlm.fingerprint,
        keywords=listing.prompt if listing else False,
        taxonomy=workspace.taxonomy.fingerprint,
        tokens=most,
        version=CAPTION_VERSION,
    )
    open_image = _opener(workspace, proxies)

    def rows_of(ids: list[str]) -> tuple[Rows, Failed]:
        images = [open_image(id_) for id_ in ids]
        captions = vlm.answer(images, [prompts[id_] for id_ in ids], max_tokens=most)
        tags: Sequence[Answer | Unanswered | None] = [None] * len(ids)
        if listing:
            tags = vlm.answer(images, [listing.prompt] * len(ids), max_tokens=most)
        rows = [
            {
                "id": id_,
                **_told_caption(caption, text.get(id_, ())),
                "keywords": told_keywords(told, workspace.taxonomy.labels) if told else [],
                "prompt": prompts[id_],
            }
            for id_, caption, told in zip(ids, captions, tags, strict=True)
            if isinstance(caption, Answer) and not isinstance(told, Unanswered)
        ]
        return rows, _failed(ids, captions) | _failed(ids, tags)

    return _update(workspace, "captions", key, wanted, CAPTIONS, rows_of, meter)


def caption_regions(workspace: Workspace, key: str, meter: Meter) -> UpdateStats:
    """Bring `region_captions` of a folder up to date: a place is looked at once, however many regions it is.

    Nothing to do where the tier grounds no regions, and no rows where the model cannot tell what a crop shows.
    """
    if (grounded := read_regions(workspace.lake, key, required=workspace.tier.detector is not None)) is None:
        return UpdateStats(0, 0, 0, 0)
    vlm, most, question = (
        workspace.vlm,
        workspace.vlm.spec.caption_tokens,
        workspace.vlm.spec.question("region"),
    )
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    regions = regions_by_id(grounded)
    wanted = derived(
        joined(answered(grounded), proxies),
        vlm=vlm.fingerprint,
        prompt=question.prompt if question else False,
        tokens=most,
        version=REGION_CAPTION_VERSION,
    )
    open_image = _opener(workspace, proxies)

    def rows_of(ids: list[str]) -> tuple[Rows, Failed]:
        if question is None:
            return [], {}
        places = [(id_, group) for id_ in ids for group in distinct_boxes(regions.get(id_, ()))]
        images = {id_: open_image(id_) for id_ in ids if id_ in regions}
        crops = [crop(images[id_], group[0].box) for id_, group in places]
        answers = vlm.answer(crops, [question.prompt] * len(crops), max_tokens=most)
        failed = _failed([id_ for id_, _ in places], answers)
        rows = [
            {"id": id_, "region_id": region.region_id, "caption": answer.text, **_figures(answer)}
            for (id_, group), answer in zip(places, answers, strict=True)
            if isinstance(answer, Answer) and id_ not in failed
            for region in group
        ]
        return rows, failed

    return _update(workspace, "region_captions", key, wanted, REGION_CAPTIONS, rows_of, meter)


def describe_images(workspace: Workspace, key: str, meter: Meter) -> UpdateStats:
    """Bring `descriptions` of a folder up to date; images that `routing` sends to the heavy lane get its model."""
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    captions = workspace.lake.read("captions", key, ["id", "fingerprint"])
    grounded = read_regions(workspace.lake, key, required=workspace.tier.detector is not None)
    evidence = read_evidence(workspace.lake, key, workspace.taxonomy, grounded)

    def vlm_of(id_: str) -> Vlm:
        return workspace.heavy_vlm if evidence.lane(id_) == "heavy" else workspace.vlm

    def fingerprint_of(id_: str) -> str:
        vlm = vlm_of(id_)
        return evidence.fingerprint(
            id_, vlm.fingerprint, vlm.spec.caption_question, vlm.spec.question("description")
        )

    of_evidence = {id_: fingerprint_of(id_) for id_ in captions["id"].to_pylist()}
    wanted = derived(
        joined(_by_id(of_evidence), captions, proxies, *([] if grounded is None else [answered(grounded)])),
        taxonomy=workspace.taxonomy.fingerprint,
        limits=repr(_limits(workspace.vlm.spec)),
        heavy_limits=repr(_limits(workspace.tier.heavy_vlm or workspace.vlm.spec)),
        version=DESCRIPTION_VERSION,
        **({"repair": workspace.repair.fingerprint} if workspace.repair else {}),
    )
    open_image = _opener(workspace, proxies)

    def rows_of(ids: list[str]) -> tuple[Rows, Failed]:
        rows: Rows = []
        failed: Failed = {}
        for lane in sorted(set(map(evidence.lane, ids))):
            own = {id_: open_image(id_) for id_ in ids if evidence.lane(id_) == lane}
            described, unanswered = _described(
                vlm_of(next(iter(own))), workspace.repair, own, evidence, workspace.taxonomy
            )
            rows += described
            failed |= unanswered
        return rows, failed

    return _update(workspace, "descriptions", key, wanted, DESCRIPTIONS, rows_of, meter)


def told_keywords(answer: Answer, labels: Labels) -> Rows:
    """The phrases of an answer to TAGS, each with its concept and the mean log-probability of its tokens.

    The last phrase of an answer that was cut is left out: it may be half of one.
    """
    told = "".join(answer.tokens)
    phrases = keywords(told)
    if not answer.finished and phrases and phrases[-1].end == len(told.rstrip()):
        phrases = phrases[:-1]
    ends = np.cumsum([len(token) for token in answer.tokens])
    return [
        {
            "phrase": phrase.text,
            "concept_id": labels.concept_of(phrase.text),
            "logprob": _mean(
                answer.logprobs[
                    np.searchsorted(ends, phrase.start, "right") : np.searchsorted(ends, phrase.end) + 1
                ]
            ),
        }
        for phrase in phrases
    ]


def crop(image: Image.Image, box: Box) -> Image.Image:
    """What a relative box shows, at least MIN_CROP_PX a side where the image has them."""
    left, right = _span(box[0], box[2], image.width)
    top, bottom = _span(box[1], box[3], image.height)
    return image.crop((left, top, right, bottom))


def _span(start: float, length: float, pixels: int) -> tuple[int, int]:
    """First and last (exclusive) pixel of a relative span, grown around its middle to MIN_CROP_PX."""
    missing = max(0.0, min(MIN_CROP_PX, pixels) - length * pixels) / 2
    first = min(max(int(start * pixels - missing), 0), max(pixels - MIN_CROP_PX, 0))
    last = max(round((start + length) * pixels + missing), first + min(MIN_CROP_PX, pixels))
    return first, min(last, pixels)


def _described(
    vlm: Vlm,
    repair: TextModel | None,
    images: Mapping[str, Image.Image],
    evidence: Evidence,
    taxonomy: Taxonomy,
) -> tuple[Rows, Failed]:
    """Rows of images (by id) of one lane."""
    ids = list(images)
    captions = {id_: evidence.captions[id_] for id_ in ids}
    failed: Failed = {}
    if evidence.lane(ids[0]) == "heavy":
        asked = [evidence.caption_prompt(id_, vlm.spec.caption_question) for id_ in ids]
        heard = vlm.answer(list(images.values()), asked, max_tokens=vlm.spec.caption_tokens)
        failed = _failed(ids, heard)
        captions = {
            id_: requoted(answer.text, evidence.text.get(id_, ()))
            for id_, answer in zip(ids, heard, strict=True)
            if isinstance(answer, Answer)
        }
    question = vlm.spec.question("description")
    answers: Sequence[Answer | Unanswered | None] = [None] * len(captions)
    if question:
        answers = vlm.answer(
            [images[id_] for id_ in captions],
            [evidence.prompt(id_, question) for id_ in captions],
            max_tokens=vlm.spec.description_tokens,
            schema=description_schema() if question.free else None,
        )
    form: Form = "json" if question and question.free else "prose"
    rewritten = _rewritten(repair, dict(zip(captions, answers, strict=True)), form)
    rows = [
        {
            "id": id_,
            "lane": evidence.lane(id_),
            "caption": caption,
            **asdict(
                describe(
                    answer.text if answer else "",
                    form=form,
                    rewritten=rewritten.get(id_),
                    finished=answer is None or answer.finished,
                    known=evidence.known(id_, caption),
                    taxonomy=taxonomy,
                    words=vlm.spec.description_words,
                )
            ),
        }
        for (id_, caption), answer in zip(captions.items(), answers, strict=True)
        if not isinstance(answer, Unanswered)
    ]
    return rows, failed | _failed(list(captions), answers)


def _rewritten(
    repair: TextModel | None, answers: Mapping[str, Answer | Unanswered | None], form: Form
) -> dict[str, str]:
    """By id: what a text-only model made of the answers that the rules of form make nothing of."""
    told = {id_: answer.text for id_, answer in answers.items() if isinstance(answer, Answer)}
    unformed = [id_ for id_, text in told.items() if repair and needs_rewriting(text, form)]
    if not repair or not unformed:
        return {}
    put = repair.rewrite([told[id_] for id_ in unformed], description_schema())
    return {id_: answer.text for id_, answer in zip(unformed, put, strict=True)}


def _failed(ids: Sequence[str], answers: Sequence[Answer | Unanswered | None]) -> Failed:
    return {
        id_: answer.reason for id_, answer in zip(ids, answers, strict=True) if isinstance(answer, Unanswered)
    }


def _told_caption(caption: Answer, lines: Sequence[str]) -> dict[str, Any]:
    """The columns of a caption that quotes the text of a picture as it was read."""
    said = requoted(caption.text, lines)
    return {
        "caption": said,
        **_figures(caption),
        "tokens": len(caption.tokens),
        "problems": [
            *caption_problems(said, finished=caption.finished),
            *(["requoted"] if said != caption.text else []),
        ],
    }


def _limits(spec: VlmSpec) -> tuple[int, int, tuple[int, int]]:
    return spec.caption_tokens, spec.description_tokens, spec.description_words


def _figures(answer: Answer) -> dict[str, float | None]:
    return {"mean_logprob": _mean(answer.logprobs), "entropy": _mean(answer.entropies)}


def _mean(values: NDArray[np.float32]) -> float | None:
    return float(values.mean()) if len(values) else None


def _by_id(fingerprints: Mapping[str, str]) -> pa.Table:
    return pa.table(
        {"id": pa.array(list(fingerprints), pa.string()), "fingerprint": list(fingerprints.values())}
    )


def _opener(workspace: Workspace, proxies: pa.Table) -> Callable[[str], Image.Image]:
    path_of = column_by_id(proxies, "path")
    return lambda id_: open_proxy(workspace.home.root, path_of[id_])


def _update(
    workspace: Workspace,
    table: str,
    key: str,
    wanted: pa.Table,
    schema: pa.Schema,
    rows_of: Callable[[list[str]], tuple[Rows, Failed]],
    meter: Meter,
) -> UpdateStats:
    """update_partition in batches of IMAGES_AT_ONCE; `rows_of` makes rows without their fingerprints."""
    wanted_fingerprint = column_by_id(wanted, "fingerprint")

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        for start in range(0, len(ids), IMAGES_AT_ONCE):
            batch = ids[start : start + IMAGES_AT_ONCE]
            with meter.timed():
                made, failed = rows_of(batch)
            rows = [row | {"fingerprint": wanted_fingerprint[row["id"]]} for row in made]
            silent = set(batch) - {row["id"] for row in rows} - failed.keys()
            named = with_empty_ids(
                pa.Table.from_pylist(rows, schema=schema), {id_: wanted_fingerprint[id_] for id_ in silent}
            )
            yield with_failed_ids(named, failed)

    return update_partition(workspace.lake, table, key, wanted, schema, compute, on_progress=meter.folder())
