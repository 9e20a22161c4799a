"""RDF/XML that brings nothing in: what it declares as entities is checked and written anew before a parser sees it."""

import re
from pathlib import Path

from taxonomy.problems import Flaw, TaxonomyError

_ENTITY = re.compile(r"<!ENTITY\s+([\w.:-]{1,99})\s+(?:\"([^\"<]{0,1000})\"|'([^'<]{0,1000})')\s*>")
_REFERENCE = re.compile(r"&(?!(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)|%")
_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([\w.-]{1,40})["']""")
_MOST_DTD, _MOST_ENTITIES = 200_000, 200
_SPREAD = 100
"""How often longer than the file its text may become by what is declared as entities."""


def safe_xml(path: Path, content: bytes) -> bytes:
    """The content in UTF-8, with no entities but short texts, which name no file and no other entity.

    Raises TaxonomyError where others are declared.
    """
    text = _decoded(path, content)
    doctypes, declared = text.count("<!DOCTYPE"), text.count("<!ENTITY")
    if not doctypes and not declared:
        return text.encode()
    start = max(0, text.find("<!DOCTYPE"))
    line = text.count("\n", 0, start) + 1
    if doctypes != 1:
        raise TaxonomyError(path, [Flaw(line, "it needs one DOCTYPE, and no more, to declare entities")])
    opened, closed = text.find("[", start), text.find(">", start)
    if opened < 0 or closed < opened:  # it names a DTD at most, which nothing reads
        entities = dict[str, str]()
    else:
        end = text.find("]", opened)
        closed = text.find(">", end)
        if end < 0 or closed < 0 or end - opened > _MOST_DTD:
            raise TaxonomyError(path, [Flaw(line, "its DOCTYPE does not end")])
        entities = _entities(path, line, text[opened:end])
    if len(entities) != declared or len(entities) > _MOST_ENTITIES:
        advice = "it declares an entity that is no short text in quotes: files and addresses are not opened"
        raise TaxonomyError(path, [Flaw(line, advice)])
    body = text[closed + 1 :]
    if sum(body.count(f"&{name};") * len(value) for name, value in entities.items()) > _SPREAD * len(body):
        raise TaxonomyError(path, [Flaw(line, "its entities make it a hundred times longer: write them out")])
    anew = "".join(f'<!ENTITY {name} "{_in_quotes(value)}">' for name, value in entities.items())
    doctype = f"<!DOCTYPE rdf:RDF [{anew}]>" if anew else ""
    lines = "\n" * text.count("\n", start, closed)
    return f"{text[:start]}{doctype}{lines}{body}".encode()


def _decoded(path: Path, content: bytes) -> str:
    """The text, without a declaration of its encoding."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    if declared := _ENCODING.match(content):
        encoding = declared.group(1).decode("ascii")
    try:
        text = content.decode(encoding)
    except (LookupError, UnicodeError) as error:
        raise TaxonomyError(path, [Flaw(1, f"is not in the encoding {encoding}: {error}")]) from error
    if text.startswith("<?xml"):
        head, _, rest = text.partition("?>")
        text = "\n" * head.count("\n") + rest
    return text


def _entities(path: Path, line: int, subset: str) -> dict[str, str]:
    """Name -> text."""
    found = dict[str, str]()
    for match in _ENTITY.finditer(subset):
        name, value = match[1], match[2] if match[2] is not None else match[3]
        if _REFERENCE.search(value):
            raise TaxonomyError(path, [Flaw(line, f'its entity "{name}" refers to another: write it out')])
        found[name] = value
    return found


def _in_quotes(value: str) -> str:
    return value.replace('"', "&quot;")
