"""What a tier says about a vision-language model."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from resources.checkpoints import ModelSpec
from resources.registry import RegistryError, Role, registry
from resources.vlms.tasks import TASKS, Question, Task, question_of


class Prompts(BaseModel):
    """How tasks are asked where it is not as usual: the name of a mode of the family, or the words themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caption: str | None = None
    tags: str | None = None
    region: str | None = None
    description: str | None = None


class VlmSpec(ModelSpec):
    """One model that tells in words what it sees."""

    role: ClassVar[Role] = "vlm"

    family: str = "chat"
    beams: PositiveInt = 1
    caption_tokens: PositiveInt = 64
    description_tokens: PositiveInt = 320
    description_words: tuple[PositiveInt, PositiveInt] = (60, 120)
    """fewest and most words of a description"""
    prompts: Prompts = Prompts()
    remote_code: bool = False
    """whether the code of the checkpoint may run here; you have read it at the `revision` that you name"""

    @model_validator(mode="after")
    def _has_an_answer_to_each_prompt(self) -> VlmSpec:
        for task in TASKS:
            self.question(task)
        return self

    @model_validator(mode="after")
    def _runs_foreign_code_only_where_allowed(self) -> VlmSpec:
        needed = registry().family("vlm", self.family).remote_code
        if self.remote_code and not needed:
            raise RegistryError(f"remote_code: the family {self.family} runs no code of a checkpoint")
        pinned = self.revision is not None or Path(self.model).is_absolute() or self.model.startswith(".")
        if needed and not (self.remote_code and pinned):
            raise RegistryError(
                f"the family {self.family} runs code that comes with the checkpoint {self.model}. Read it, then name the "
                "commit that you read as `revision` and add `remote_code: true`"
            )
        return self

    def question(self, task: Task) -> Question | None:
        """What the model is asked for a task; None where its family cannot do it."""
        return question_of(self.family, task, getattr(self.prompts, task))

    @property
    def caption_question(self) -> Question:
        """Every family can caption: the rows of a tier begin with that."""
        question = self.question("caption")
        if question is None:
            raise RegistryError(f"the family {self.family} has no `caption` among its tasks")
        return question
