"""One factual sentence an image, how sure the model was of it, and the keywords it names."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from PIL import Image

from resources.checked import checked
from resources.models.vlms import Answer, Unanswered
from resources.workspace import VistagResource
from taxonomy import Labels
from vistag_assets.folder_asset import Batch, Folder, Proxies, Row, Rows, folder_asset, in_batches_of_images
from vistag_assets.lineage import by_id, derived, joined
from vistag_assets.whole_image.asking import (
    IMAGES_AT_ONCE,
    about_vlm,
    failed_of,
    figures_of,
    mean,
    preview_texts,
    rows_of_all,
)
from vistag_assets.whole_image.caption_form import caption_problems, keywords
from vistag_assets.whole_image.ocr_text import text_lines
from vistag_assets.whole_image.quotes import requoted

MAX_PROBLEM_SHARE = 0.05


_shown = preview_texts("captions", "caption")


@folder_asset(
    "Captioning images", "captioned", role="vlm", version=1, preview=_shown, about=about_vlm("tags")
)
def captions(folder: Folder, proxies: Proxies, ocr_text: pa.Table | None) -> Rows:
    workspace, vlm = folder.workspace, folder.workspace.vlm
    most, question, listing = vlm.spec.caption_tokens, vlm.spec.caption_question, vlm.spec.question("tags")
    labels, text = workspace.taxonomy.labels, text_lines(ocr_text)
    prompts = {id_: question.about(text.get(id_, ())) for id_ in proxies["id"].to_pylist()}
    wanted = derived(
        joined(proxies, by_id(prompts)),
        vlm=vlm.fingerprint,
        keywords=listing.prompt if listing else False,
        taxonomy=workspace.taxonomy.fingerprint,
        tokens=most,
        version=folder.version,
    )

    def caption(ids: list[str], images: list[Image.Image]) -> Batch:
        # both questions of a picture one after the other: a server then has the picture in its cache
        questions = [[prompts[id_], *([listing.prompt] if listing else [])] for id_ in ids]
        shown = [image for image, asked in zip(images, questions, strict=True) for _ in asked]
        told = vlm.answer(shown, [prompt for asked in questions for prompt in asked], max_tokens=most)
        step = 2 if listing else 1
        answers = told[::step]
        tags: Sequence[Answer | Unanswered | None] = told[1::step] if listing else [None] * len(ids)
        rows = [
            {
                "id": id_,
                **_parsed_caption(answer, text.get(id_, ())),
                "keywords": parsed_keywords(listed, labels) if listed else [],
                "prompt": prompts[id_],
            }
            for id_, answer, listed in zip(ids, answers, tags, strict=True)
            if isinstance(answer, Answer) and not isinstance(listed, Unanswered)
        ]
        return Batch(ids, rows, failed_of(ids, answers) | failed_of(ids, tags))

    at_once = vlm.spec.batches_at_once
    return Rows(wanted, in_batches_of_images(IMAGES_AT_ONCE, folder.opener(proxies), caption, at_once))


def parsed_keywords(answer: Answer, labels: Labels) -> list[Row]:
    """The phrases of an answer to TAGS, each with its concept and the mean log-probability of its tokens.

    The last phrase of an answer that was cut is left out: it may be half of one.
    """
    text = "".join(answer.tokens)
    phrases = keywords(text)
    if not answer.finished and phrases and phrases[-1].end == len(text.rstrip()):
        phrases = phrases[:-1]
    ends = np.cumsum([len(token) for token in answer.tokens])
    return [
        {
            "phrase": phrase.text,
            "concept_id": labels.concept_of(phrase.text),
            "logprob": mean(
                answer.logprobs[
                    np.searchsorted(ends, phrase.start, "right") : np.searchsorted(ends, phrase.end) + 1
                ]
            ),
        }
        for phrase in phrases
    ]


def _parsed_caption(caption: Answer, lines: Sequence[str]) -> dict[str, Any]:
    """The columns of a caption that quotes the text of a picture as it was read."""
    text = requoted(caption.text, lines)
    return {
        "caption": text,
        **figures_of(caption),
        "tokens": len(caption.tokens),
        "problems": [
            *caption_problems(text, finished=caption.finished),
            *(["requoted"] if text != caption.text else []),
        ],
    }


@dg.asset_check(
    asset="captions", description="Captions are one finished sentence that starts with what is seen."
)
def captions_are_one_sentence(vistag: VistagResource) -> dg.AssetCheckResult:
    problems = [row["problems"] for row in rows_of_all(vistag.open().lake, "captions", ["problems"])]
    return checked(
        "captions",
        len(problems),
        sum(map(bool, problems)),
        right="are one finished sentence",
        fault="have problems (the column `problems` names them)",
        allowed_share=MAX_PROBLEM_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
    )
