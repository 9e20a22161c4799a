"""Prompt templates by facet, read from YAML: a list a facet, each template with one ``{label}``."""

from pathlib import Path

import yaml

from taxonomy.model import Prompts
from taxonomy.problems import Flaw, TaxonomyError, read_text

STARTER_PROMPTS = Path(__file__).parent / "data" / "prompts.yaml"


def load_prompts(path: Path = STARTER_PROMPTS) -> Prompts:
    """Facet -> templates, in the order of the file. Raises TaxonomyError with every problem."""
    text = read_text(path)
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or error
        raise TaxonomyError(
            path, [Flaw(mark.line + 1 if mark else 1, f"not valid YAML: {reason}")]
        ) from error
    if not isinstance(document, yaml.MappingNode) or not document.value:
        raise TaxonomyError(path, [Flaw(1, 'needs a mapping such as "object: [a photo of {label}]"')])

    prompts: dict[str, tuple[str, ...]] = {}
    flaws: list[Flaw] = []
    for key, value in document.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            flaws.append(Flaw(line, "a facet needs a plain name"))
            continue
        if key.value in prompts:
            flaws.append(Flaw(line, f'facet "{key.value}" stands here twice'))
        if not isinstance(value, yaml.SequenceNode) or not value.value:
            flaws.append(Flaw(line, f'facet "{key.value}" needs a list of templates'))
            continue
        flaws += [
            Flaw(item.start_mark.line + 1, f"a template needs {{label}} exactly once, found {item.value!r}")
            for item in value.value
            if not isinstance(item, yaml.ScalarNode) or item.value.count("{label}") != 1
        ]
        prompts[key.value] = tuple(str(item.value) for item in value.value)
    if flaws:
        raise TaxonomyError(path, flaws)
    return prompts
