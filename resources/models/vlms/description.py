"""The form of a description. `description.schema.json` beside this file is its JSON Schema, and a test holds it to that.

Pydantic checks what a model answered, and any engine or reader that knows JSON Schema can use the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_FILE = Path(__file__).with_name("description.schema.json")
MAX_CLAIMS = 16
MAX_REGIONS = 16
MAX_TAGS = 24

Aspect = Literal["subject", "lighting", "colour", "composition"]
Text = Annotated[str, Field(min_length=1)]
RegionId = Annotated[str, Field(pattern=r"^([0-9a-f]{12}-)?r[1-9][0-9]*$")]


class Claim(BaseModel):
    """One sentence about the picture, and the regions where it can be seen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    aspect: Aspect
    text: Text
    regions: list[RegionId] = Field(
        max_length=MAX_REGIONS,
        description="r1, r2, ... of the prompt in an answer; ids of grounded_regions in a stored description",
    )


class Description(BaseModel):
    """A catalogue description of a picture."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    title: Text
    claims: Annotated[list[Claim], Field(min_length=1, max_length=MAX_CLAIMS)]
    tags: Annotated[list[Text], Field(max_length=MAX_TAGS)]


def description_schema() -> dict[str, Any]:
    """The JSON Schema, for engines that hold an answer to one."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def parse_description(text: str) -> Description | None:
    """The description that a text is, None for a text that does not fit the schema as it stands."""
    try:
        return Description.model_validate_json(text)
    except ValidationError:
        return None
