"""Facets: the kinds of concepts that a vocabulary has, and how each is asked about, looked for and shown."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from taxonomy.problems import Flaw, TaxonomyError, did_you_mean, read_text
from taxonomy.strict_yaml import YamlError, read_nodes

STARTER_FACETS = Path(__file__).parent / "data" / "facets.yaml"
OTHER_COLOUR = "#4d4d4d"
_LAST = 1_000
_FLAGS = ("grounded", "thing", "in_crop", "mask", "unseen")
_LISTS = {
    "aside": "ids of concepts",
    "members": "collections, schemes or concepts: IRIs, ids, notations or labels",
}
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_YAML = "tag:yaml.org,2002:"

_BEFORE: Mapping[str, str] = {
    "object": "grounded thing in_crop cataloguing-aid", "material": "grounded in_crop", "technique": "grounded in_crop",
    "condition": "grounded in_crop", "subject": "grounded", "setting": "", "lighting": "", "style": "unseen",
    "view": "unseen", "photography": "unseen", "colour": "unseen",
}  # fmt: skip
"""How these facets were treated before a file described them: what was computed then stays valid. Not to be edited."""


@dataclass(frozen=True, slots=True)
class Facet:
    """A kind of concepts. One that no file describes holds things: looked for, outlined, named by captions."""

    name: str
    prompts: tuple[str, ...] = ("{label}", "a photo of {label}")
    """Templates, each with one ``{label}``, that turn a label into text for an encoder."""
    grounded: bool = True
    """Whether regions of its concepts are looked for; not so where no box would be right or wrong."""
    thing: bool = True
    """Whether its concepts are things: a place is called by its thing, and captions are measured by the things they name."""
    in_crop: bool = True
    """Whether a crop can show its concepts: the encoder's look at crops is evidence, a tag without a box ungrounded."""
    mask: bool = True
    """Whether its regions get a mask, where the tier's segmenter does not name its own facets."""
    unseen: bool = False
    """Whether nothing in the lake can bear out its concepts, so that a description may name them without support."""
    aside: tuple[str, ...] = ()
    """Ids of concepts that, with all narrower ones, lie beside the subject (scale bars): captions rightly leave them out."""
    members: tuple[str, ...] = ()
    """Whose concepts are of it: collections, schemes, and concepts with all narrower ones; by IRI, id, notation or label."""
    colour: str = OTHER_COLOUR
    """``#rrggbb`` of its boxes and labels, dark enough for white text."""
    order: int = _LAST
    """Place among the facets where they are shown: that in the file."""

    @property
    def fingerprint(self) -> str | None:
        """What decides rows besides prompts, and masks, which are told by themselves; None as long as it is as before."""
        flags = [name for name in _FLAGS if name != "mask" and getattr(self, name)]
        behaviour = " ".join([*flags, *sorted(self.aside)])
        return None if behaviour == _BEFORE.get(self.name) else behaviour


def load_facets(path: Path = STARTER_FACETS) -> dict[str, Facet]:
    """Name -> facet, in the order of the file. Raises TaxonomyError with every problem.

    What is not said follows from what is: without regions there is no thing and nothing in a crop, and only things
    have masks.
    """
    try:
        document = read_nodes(read_text(path))
    except YamlError as error:
        raise TaxonomyError(path, [Flaw(error.line, error.problem)]) from error
    if not isinstance(document, yaml.MappingNode) or not document.value:
        raise TaxonomyError(path, [Flaw(1, 'needs a mapping such as "object: [a photo of {label}]"')])

    facets: dict[str, Facet] = {}
    flaws: list[Flaw] = []
    for key, node in document.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            flaws.append(Flaw(line, "a facet needs a plain name"))
            continue
        if key.value in facets:
            flaws.append(Flaw(line, f'facet "{key.value}" stands here twice'))
        described = _fields(node)
        flaws += [flaw for field, value in described.items() for flaw in _flaws(key, field, value)]
        facets[key.value] = Facet(key.value) if flaws else _facet(key.value, described, len(facets))
    if flaws:
        raise TaxonomyError(path, flaws)
    return facets


def _fields(node: yaml.Node) -> dict[str, yaml.Node]:
    """Field -> its value in the file. A list alone is that of the prompts; nothing means all defaults."""
    if isinstance(node, yaml.MappingNode):
        return {str(field.value): value for field, value in node.value}
    return {} if node.tag == f"{_YAML}null" else {"prompts": node}


@cache
def _starter_facets() -> Mapping[str, Facet]:
    """What a facet is of which a file says no more than its members."""
    return load_facets(STARTER_FACETS)


def _facet(name: str, described: Mapping[str, yaml.Node], order: int) -> Facet:
    given: dict[str, Any] = {field: _value(node) for field, node in described.items()}
    if given.keys() == {"members"} and name in (known := _starter_facets()):
        return replace(known[name], order=order, **given)
    grounded = given.get("grounded", True)
    thing = given.get("thing", grounded)
    implied = {"thing": thing, "in_crop": grounded, "mask": thing, "order": order}
    return Facet(name, **implied | given)


def _value(node: yaml.Node) -> bool | str | tuple[str, ...]:
    if isinstance(node, yaml.SequenceNode):
        return tuple(str(item.value) for item in node.value)
    if node.tag == f"{_YAML}bool":
        return str(node.value).lower() in ("true", "yes", "on")
    return str(node.value)


def _flaws(facet: yaml.ScalarNode, field: str, node: yaml.Node) -> Iterator[Flaw]:
    """What is wrong with the value of a field; a missing or empty list of templates is told of the facet."""
    line, name = node.start_mark.line + 1, f'facet "{facet.value}"'
    is_list = isinstance(node, yaml.SequenceNode) and bool(node.value)
    if field == "prompts" and not is_list:
        yield Flaw(facet.start_mark.line + 1, f"{name} needs a list of templates")
    elif field == "prompts":
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or item.value.count("{label}") != 1:
                found = f"a template needs {{label}} exactly once, found {item.value!r}"
                yield Flaw(item.start_mark.line + 1, found)
    elif field in _LISTS:
        if not is_list or not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            yield Flaw(line, f"{name}: {field} needs a list of {_LISTS[field]}")
    elif field == "colour":
        if not _COLOUR.fullmatch(str(node.value)):
            yield Flaw(line, f'{name}: colour needs the form "#0072b2", found {node.value!r}')
    elif field not in _FLAGS:
        known = ("prompts", *_FLAGS, *_LISTS, "colour")
        hint = did_you_mean(field, known) or f"; the fields are {', '.join(known)}"
        yield Flaw(line, f'{name} has the unknown field "{field}"{hint}')
    elif node.tag != f"{_YAML}bool":
        yield Flaw(line, f"{name}: {field} is true or false, found {node.value!r}")
