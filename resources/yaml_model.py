"""What is wrong with a YAML file that people wrote, by the pydantic model that it is to fit: a line a problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from resources.secrets import is_secret_name
from resources.yaml_file import YamlFile
from taxonomy.strict_yaml import shown

_MAX_SHOWN = 200


def problems_of(error: ValidationError, file: YamlFile, model: type[BaseModel]) -> str:
    """One indented line a problem, with where it stands in the file."""
    return "\n".join(f"  {_problem(detail, file, model)}" for detail in error.errors())


def _problem(detail: Any, file: YamlFile, model: type[BaseModel]) -> str:
    """What is wrong with a field, with its line; names that a stranger wrote are escaped."""
    names = ".".join(shown(str(part), quoted=False) for part in detail["loc"])
    where = f"line {file.line_of(detail['loc'])}: " + (f"{names}: " if names else "")
    if detail["type"] == "value_error":
        return f"{where}{detail['ctx']['error']}"
    if detail["type"] == "extra_forbidden" and is_secret_name(str(detail["loc"][-1])):
        return (
            f"{where}secrets are read from the environment only (docs/security.md); take it out of this file"
        )
    if detail["type"] == "extra_forbidden":
        return f"{where}unknown field; known: {', '.join(_known_fields(detail['loc'][:-1], model))}"
    given = detail["input"]
    # A few hundred bytes of YAML can hold lists of lists that would fill the memory when written out.
    is_plain = given is None or isinstance(given, str | int | float)
    return f"{where}{detail['msg'].lower()}" + (f", got {repr(given)[:_MAX_SHOWN]}" if is_plain else "")


def _known_fields(where: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """The fields of the mapping that lies at `where` in a file; a number is a place in a list."""
    for field in where:
        if isinstance(field, str):
            annotation = model.model_fields[field].annotation
            kinds = (annotation, *get_args(annotation))
            model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(model.model_fields)
