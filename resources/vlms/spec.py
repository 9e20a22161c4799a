"""What a tier says about a vision-language model."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from resources.checkpoints import ModelSpec
from resources.registry import Role

Engine = Literal["transformers", "openai"]


class MediaLimit(BaseModel):
    """Most pictures and videos of one prompt. vistag sends one picture; a server reserves memory for what it allows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: PositiveInt = 1
    video: NonNegativeInt = 0


class ServerSpec(BaseModel):
    """A server that speaks OpenAI's chat protocol: how it is asked, and how `vistag serve` starts one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")] | None = None
    """of a server that others start, up to and with its `/v1`; None: the one that `vistag serve` starts"""
    served_name: str | None = None
    """what the server calls the model; None: the model's own name"""
    concurrency: PositiveInt = 16
    """requests at a time"""
    timeout_s: PositiveFloat = 120
    """of one attempt"""
    retries: NonNegativeInt = 3
    """after the first attempt, at 429, 5xx, a lost connection and a timeout"""

    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """on 127.0.0.1"""
    max_model_len: PositiveInt | None = 8192
    """tokens of prompt, picture and answer together; None: as many as the model can"""
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """of the whole card, for weights, activations and the cache of keys and values"""
    quantisation: str | None = None
    """what vLLM does to the weights as it loads them, such as fp8; None: as they are stored"""
    limit_mm_per_prompt: MediaLimit = MediaLimit()
    extra_args: tuple[str, ...] = ()
    """more of `vllm serve`'s, such as --tensor-parallel-size, 2"""

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return (self.base_url or f"http://127.0.0.1:{self.port}/v1").rstrip("/")


class VlmSpec(ModelSpec):
    """One model that tells in words what it sees."""

    role: ClassVar[Role] = "vlm"

    family: str = "chat"
    engine: Engine = "transformers"
    """in this process, or a server"""
    server: ServerSpec = ServerSpec()
    beams: PositiveInt = 1
    caption_tokens: PositiveInt = 64
    description_tokens: PositiveInt = 320
    description_words: tuple[PositiveInt, PositiveInt] = (60, 120)
    """fewest and most words of a description"""

    @model_validator(mode="after")
    def _engine_has_what_is_asked(self) -> Self:
        if self.engine == "transformers" and "server" in self.model_fields_set:
            raise ValueError("`server` is for `engine: openai`; add that line, or leave `server` out")
        if self.engine == "openai" and self.beams > 1:
            raise ValueError(
                "beams: the protocol of servers has none; leave `beams` out, or use `engine: transformers`"
            )
        return self

    @property
    def served_name(self) -> str:
        return self.server.served_name or self.name
