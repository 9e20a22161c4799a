"""A text model mends the form of descriptions: against the library, and by what the stage lets it do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from language_home import KEY, KNOWN, run, workspace_with
from tiny_captioners import save_tiny_florence2
from tiny_vlm import byte_tokenizer, save, text_tower
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, pipeline

from resources.models.checkpoints import make_model
from resources.models.vlms import RepairSpec
from resources.models.vlms.text_chat import PROMPT
from resources.workspace import open_workspace
from taxonomy import starter_taxonomy
from vistag_assets.language.describing import describe, needs_rewriting

TEXTS = ["A bowl.", "A terracotta bowl with a crack stands on a shelf.", "x", "Löwe", "A chair of oak."] * 2
TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer: PreTrainedTokenizerFast = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    model = LlamaForCausalLM(LlamaConfig(**text_tower(tokenizer)))
    return save(model, tokenizer, tmp_path_factory.mktemp("text"))


def spec(checkpoint: Path, **fields: object) -> RepairSpec:
    values = {"model": str(checkpoint), "licence": "own", "batch_size": 4, "description_tokens": 12} | fields
    return RepairSpec.model_validate(values)


def test_rewritten_texts_equal_the_pipeline_one_at_a_time(checkpoint: Path) -> None:
    reference = pipeline("text-generation", model=str(checkpoint), dtype=torch.float32, device="cpu")
    model: Any = make_model(spec(checkpoint), "cpu")
    free = [model.write(model._inputs([text]), 12)[0] for text in TEXTS]
    batched = model.write(model._inputs(TEXTS), 12)
    for text, alone, together in zip(TEXTS, free, batched, strict=True):
        [told] = reference(
            [{"role": "user", "content": PROMPT.format(text=text)}],
            return_full_text=False,
            max_new_tokens=12,
            do_sample=False,
        )
        assert together.text == alone.text == told["generated_text"].strip()
    assert len({answer.text for answer in batched}) > 2


def test_what_is_rewritten_is_held_to_the_schema(checkpoint: Path) -> None:
    small = {
        "type": "object",
        "properties": {"on": {"enum": ["a", "b"]}},
        "required": ["on"],
        "additionalProperties": False,
    }
    for answer in make_model(spec(checkpoint), "cpu").rewrite(TEXTS, small):
        assert json.loads(answer.text)["on"] in ("a", "b")


def described(answer: str, rewritten: str | None) -> dict[str, object]:
    told = describe(
        answer,
        finished=True,
        known=KNOWN,
        taxonomy=starter_taxonomy(),
        words=(1, 60),
        form="prose",
        rewritten=rewritten,
    )
    return {
        "title": told.title,
        "description": told.description,
        "problems": told.problems,
        "tags": told.tags,
    }


def as_json(title: str, *claims: str) -> str:
    return json.dumps(
        {
            "title": title,
            "claims": [{"aspect": "subject", "text": claim, "regions": []} for claim in claims],
            "tags": [],
        }
    )


def test_another_form_of_the_same_words_is_taken() -> None:
    answer = "A terracotta bowl. It stands on a shelf."
    told = described(answer, as_json("Terracotta bowl", "A terracotta bowl stands on a shelf."))
    assert told["title"] == "Terracotta bowl"
    assert told["description"] == "A terracotta bowl stands on a shelf."
    assert told["problems"] == ("repaired",)


@pytest.mark.parametrize("added", ["A terracotta bowl of Rome.", "Two terracotta bowls."])
def test_a_word_more_than_was_said_is_refused(added: str) -> None:
    answer = "A terracotta bowl. It stands on a shelf."
    assert described(answer, as_json("Bowl", added)) == described(answer, None)
    assert described(answer, "{") == described(answer, None)


def test_only_what_has_no_form_is_rewritten() -> None:
    assert needs_rewriting("A bowl stands here.", "prose")
    assert needs_rewriting("A bowl stands here.", "json")
    assert not needs_rewriting(as_json("Bowl", "A bowl."), "json")
    assert not needs_rewriting(as_json("Bowl", "A bowl.")[:-1], "json")  # the rules close it
    assert not needs_rewriting(" ", "prose")


@pytest.mark.slow
def test_a_tier_with_a_text_model_describes_again_and_keeps_to_what_was_said(
    tmp_path: Path, checkpoint: Path
) -> None:
    workspace = workspace_with(
        tmp_path, model=str(save_tiny_florence2(tmp_path / "florence")), family="florence-2"
    )
    run(workspace)
    before = workspace.lake.read("descriptions", KEY).to_pylist()
    tier_file = Path(workspace.settings.tier)
    tier = json.loads(tier_file.read_text())
    tier["repair"] = spec(checkpoint, description_tokens=200).model_dump()
    tier_file.write_text(json.dumps(tier))
    mended = open_workspace(workspace.home)
    run(mended)
    after = mended.lake.read("descriptions", KEY).to_pylist()
    assert {row["id"] for row in after} == {row["id"] for row in before}
    assert {row["fingerprint"] for row in after}.isdisjoint(row["fingerprint"] for row in before)
    said = {row["id"]: row["description"] for row in before}
    assert all(
        row["description"] == said[row["id"]] for row in after
    )  # random words of the tiny model are refused
