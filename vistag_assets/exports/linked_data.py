"""Linked data: which picture shows which concept, and how probably; and the vocabulary that the concepts are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

import pyoxigraph
from pyoxigraph import Literal, NamedNode, Quad

from taxonomy.skos_writer import to_rdf
from vistag_assets.exports.formats import SkosOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.records import ImageRecord, file_name

SYNTAXES = {
    "turtle": (pyoxigraph.RdfFormat.TURTLE, "ttl"),
    "jsonld": (pyoxigraph.RdfFormat.JSON_LD, "jsonld"),
    "ntriples": (pyoxigraph.RdfFormat.N_TRIPLES, "nt"),
}
_XSD = "http://www.w3.org/2001/XMLSchema#"
_PREFIXES = {
    "oa": "http://www.w3.org/ns/oa#",
    "dcterms": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "vistag": "urn:x-vistag:terms/",
}


def write(job: Job) -> None:
    options: SkosOptions = job.options  # type: ignore[assignment]
    if options.syntax not in SYNTAXES:
        raise ExportError(f"syntax is {options.syntax!r}: give one of {', '.join(SYNTAXES)}")
    syntax, suffix = SYNTAXES[options.syntax]
    try:
        NamedNode(options.base)
    except ValueError as error:
        raise ExportError(f"base is {options.base!r}, which is no IRI: {error}") from error
    job.put(f"vocabulary.{suffix}", to_rdf(syntax)(job.workspace.taxonomy).encode())
    if syntax is pyoxigraph.RdfFormat.JSON_LD:  # one document, that cannot be put together
        with job.stream(f"tags.{suffix}") as file:
            _write(job.images(), file, syntax, options.base)
        return
    for folder in job.changed_folders():
        with job.section("tags") as file:
            _write(job.images_of(folder), file, syntax, options.base)
    with job.stream(f"tags.{suffix}") as file:
        job.join("tags", file)


def _write(images: Iterator[ImageRecord], file: BinaryIO, syntax: pyoxigraph.RdfFormat, base: str) -> None:
    statements = (found for image in images for found in _statements(image, base))
    pyoxigraph.serialize(statements, file, syntax, prefixes=_PREFIXES)


def _statements(image: ImageRecord, base: str) -> Iterator[Quad]:
    """dcterms for who asks what a picture shows, Web Annotations for who asks how sure that is and who said it."""
    subject = NamedNode(f"{base}{quote(f'{image.library}/{file_name(image.path)}')}")
    for property_, text in (("title", image.title), ("description", image.description or image.caption)):
        if text:
            yield Quad(subject, _term(f"dcterms:{property_}"), Literal(text))
    yield Quad(subject, _term("dcterms:identifier"), Literal(image.id))
    for tag in image.tags:
        if tag.concept is None:
            continue
        concept = NamedNode(tag.iri)
        yield Quad(subject, _term("dcterms:subject"), concept)
        said = NamedNode(f"urn:x-vistag:tag/{image.id}/{quote(tag.concept.id, safe='')}")
        yield Quad(said, _term("rdf:type"), _term("oa:Annotation"))
        yield Quad(said, _term("oa:motivatedBy"), _term("oa:tagging"))
        yield Quad(said, _term("oa:hasTarget"), subject)
        yield Quad(said, _term("oa:hasBody"), concept)
        decimal = Literal(f"{tag.probability:.4f}", datatype=NamedNode(f"{_XSD}decimal"))
        yield Quad(said, _term("vistag:probability"), decimal)
        yield Quad(said, _term("vistag:state"), Literal(tag.state))


def _term(name: str) -> NamedNode:
    prefix, _, local = name.partition(":")
    return NamedNode(f"{_PREFIXES[prefix]}{local}")
