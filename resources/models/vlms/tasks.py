"""What a model is asked for each task: by vistag's own prompts, or in the only words that its family knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from resources.models.registry import RegistryError, registry
from resources.models.vlms.prompts import CAPTION, DESCRIPTION, REGION, TAGS, with_regions, with_text

Task = Literal["caption", "tags", "region", "description"]
TASKS: tuple[Task, ...] = get_args(Task)

OWN_PROMPTS: dict[Task, str] = {
    "caption": CAPTION,
    "tags": TAGS,
    "region": REGION,
    "description": DESCRIPTION,
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked."""

    prompt: str
    free: bool
    """Whether the model may be told more than the prompt, and be held to a JSON Schema.

    Not so where a mode or a task token is asked: it is the model's own, and its answer is running text.
    """

    def about(self, text: Sequence[str] = (), regions: Sequence[tuple[str, str]] = ()) -> str:
        """The prompt, told the lines read in the picture and its regions (short id, phrase) where that helps."""
        return with_regions(with_text(self.prompt, text), regions) if self.free else self.prompt


def question_of(family: str, task: Task, wanted: str | None = None) -> Question | None:
    """What a family is asked for a task; None where it cannot do it.

    `wanted` is a mode of the family or, where it follows any prompt, a prompt of several words. Raises
    RegistryError for a mode that the family does not have.
    """
    known = registry().family("vlm", family)
    words = {
        prompt: prompt for prompt in [*(known.tasks or {}).values(), *known.modes.values()]
    } | known.modes
    if wanted is not None and wanted in words:
        return Question(words[wanted], free=False)
    if wanted is not None and (known.tasks is not None or " " not in wanted):
        modes = ", ".join(sorted(words)) or "none"
        raise RegistryError(
            f"prompts.{task}: {wanted!r} is no mode of the family {family}; its modes: {modes}"
        )
    if known.tasks is None:
        return Question(wanted or OWN_PROMPTS[task], free=True)
    return Question(known.tasks[task], free=False) if task in known.tasks else None
