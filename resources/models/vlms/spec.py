"""What a tier says about a model that writes, and what such a model does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from resources.http_client import require_address
from resources.models.checkpoints import Loadable, Model, ModelSpec
from resources.models.registry import RegistryError, registry
from resources.models.vlms.answers import Answer, Pictures, Schema, Unanswered
from resources.models.vlms.engine_args import require_engine_args
from resources.models.vlms.tasks import TASKS, Question, Task, question_of


class Prompts(BaseModel):
    """How tasks are asked where it is not as usual: the name of a mode of the family, or the words themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caption: str | None = None
    tags: str | None = None
    region: str | None = None
    description: str | None = None


API_KEY = "VISTAG_VLM_API_KEY"
"""Environment variable; servers on this machine mostly want none."""

Engine = Literal["transformers", "openai"]
Program = Literal["vllm", "lmdeploy", "trtllm"]


class MediaLimit(BaseModel):
    """Most pictures and videos of one prompt. vistag sends one picture; a server reserves memory for what it allows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: PositiveInt = 1
    video: NonNegativeInt = 0


_KEYS = f"keys are read from the environment only: set {API_KEY}"
_PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,199}$"
"""Of what reaches a command line: nothing that could be read as an option."""


class ServerSpec(BaseModel):
    """A server that speaks OpenAI's chat protocol: how it is asked, and how `vistag serve` starts one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    program: Program = "vllm"
    """which server it is, and so which dialect of the protocol it speaks (resources/models/vlms/dialects.py)"""
    insecure: bool = False
    """whether plain http may go to another machine: who stands between reads keys and pictures"""
    base_url: str | None = None
    """of a server that others start, up to and with its `/v1`; None: the one that `vistag serve` starts"""
    served_name: Annotated[str, Field(pattern=_PLAIN_NAME)] | None = None
    """what the server calls the model; None: the model's own name"""
    concurrency: PositiveInt = 16
    """requests at a time"""
    timeout_s: PositiveFloat = 120
    """of one attempt, from its start to the last byte of its answer"""
    retries: NonNegativeInt = 3
    """after the first attempt, at 5xx, a lost connection and a timeout"""
    busy_s: NonNegativeFloat = 600
    """for so long one question waits for a server that says 429 or 503; after that `retries` count"""

    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """on 127.0.0.1"""
    max_model_len: PositiveInt | None = 8192
    """tokens of prompt, picture and answer together; None: as many as the model can"""
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """of the whole card, for weights, activations and the cache of keys and values"""
    quantisation: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")] | None = None
    """what vLLM does to the weights as it loads them, such as fp8; None: as they are stored"""
    limit_mm_per_prompt: MediaLimit = MediaLimit()
    extra_args: tuple[str, ...] = ()
    """more of `vllm serve`'s, such as --tensor-parallel-size, 2: those of ENGINE_ARGS"""

    @field_validator("base_url")
    @classmethod
    def _is_safe_to_send_to(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url and "@" in url:
            raise ValueError(f"a name or password before the host; {_KEYS}, and leave it out of the address")
        if url is not None:
            try:
                require_address(url, insecure=info.data.get("insecure", False))
            except ValueError as error:
                hint = (
                    ""
                    if not url.startswith("http://")
                    else "; `insecure: true` beside it allows it all the same"
                )
                raise ValueError(f"{error}{hint}") from None
        return url

    @field_validator("extra_args")
    @classmethod
    def _opens_nothing(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        require_engine_args(options, _KEYS)
        return options

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return (self.base_url or f"http://127.0.0.1:{self.port}/v1").rstrip("/")


class WriterSpec(ModelSpec[Model]):
    """One chat model."""

    family: str = "chat"
    description_tokens: PositiveInt = 320
    beams: PositiveInt = 1
    """1: greedy"""


class RepairSpec(WriterSpec["TextModel"]):
    """One chat model without eyes, which mends descriptions."""

    role: ClassVar[str] = "repair"


class VlmSpec(WriterSpec["Vlm"]):
    """One model that tells in words what it sees."""

    role: ClassVar[str] = "vlm"

    engine: Engine = "transformers"
    """in this process, or a server"""
    server: ServerSpec = ServerSpec()
    caption_tokens: PositiveInt = 64
    description_words: tuple[PositiveInt, PositiveInt] = (60, 120)
    """fewest and most words of a description"""
    prompts: Prompts = Prompts()
    remote_code: bool = False
    """whether the code of the checkpoint may run here; you have read it at the `revision` that you name"""

    @model_validator(mode="after")
    def _engine_has_what_is_asked(self) -> VlmSpec:
        if not self.is_served and "server" in self.model_fields_set:
            raise ValueError("`server` is for `engine: openai`; add that line, or leave `server` out")
        served_by = registry().family(self.role, self.family).served_by
        if served_by and not self.is_served:
            raise ValueError(
                f"engine: the family {self.family} runs behind a server alone, {served_by}: write `engine: openai` and name it "
                "under `server` (docs/serving.md)"
            )
        if self.is_served and self.beams > 1:
            raise ValueError(
                "beams: the protocol of servers has none; leave `beams` out, or use `engine: transformers`"
            )
        if self.is_served and registry().family(self.role, self.family).tasks is not None:
            raise ValueError(
                f"engine: servers answer chats, and the family {self.family} knows none; use `engine: transformers`"
            )
        return self

    @model_validator(mode="after")
    def _has_an_answer_to_each_prompt(self) -> VlmSpec:
        for task in TASKS:
            self.question(task)
        return self

    @model_validator(mode="after")
    def _runs_foreign_code_only_where_allowed(self) -> VlmSpec:
        needed = registry().family(self.role, self.family).remote_code
        if self.remote_code and not needed:
            raise RegistryError(f"remote_code: the family {self.family} runs no code of a checkpoint")
        pinned = self.revision is not None or Path(self.model).is_absolute() or self.model.startswith(".")
        if needed and not (self.remote_code and pinned):
            raise RegistryError(
                f"the family {self.family} runs code that comes with the checkpoint {self.model}. Read it, then name the "
                "commit that you read as `revision` and add `remote_code: true`"
            )
        return self

    def implementation(self) -> Any:
        """The class that runs it in this process, or that asks a server."""
        if not self.is_served:
            return super().implementation()
        from resources.models.vlms.openai_client import OpenAiVlm

        return OpenAiVlm

    @property
    def is_served(self) -> bool:
        return self.engine == "openai"

    @property
    def batches_at_once(self) -> int:
        """A server is handed the next batch before it has answered the last of this one, so that it is never idle."""
        return 2 if self.is_served else 1

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

    @property
    def served_name(self) -> str:
        return self.server.served_name or self.name


class Vlm(Loadable, Protocol):
    """A chat model that sees."""

    spec: VlmSpec

    def answer(
        self, images: Pictures, prompts: Sequence[str], *, max_tokens: int, schema: Schema | None = None
    ) -> Sequence[Answer | Unanswered]:
        """One answer an image, greedy or by the beams of the spec. Batched inside, left-padded.

        A server may fail at one image and answer the others; an engine in this process answers all or raises.

        An engine that can constrain its decoding holds the answers to `schema`, a JSON Schema; one that cannot
        takes no notice of it, so whoever asks validates the answers all the same.
        """
        ...


class TextModel(Loadable, Protocol):
    """A chat model without eyes."""

    spec: RepairSpec

    def rewrite(self, texts: Sequence[str], schema: Schema) -> list[Answer]:
        """The texts as JSON of the schema, greedy or by the beams of the spec. Batched inside."""
        ...
