"""The formats that vistag can write, as data: what each is for, what it carries and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vistag_assets.exports.job import Job


@dataclass(frozen=True, slots=True)
class Options:
    """A format's own options; each field has its meaning in `metadata["help"]`."""


@dataclass(frozen=True, slots=True)
class XmpOptions(Options):
    naming: str = field(
        default="full",
        metadata={
            "help": "full: img.jpg.xmp (digiKam, darktable, Immich); stem: img.xmp (Lightroom, Bridge)"
        },
    )
    beside: bool = field(
        default=False,
        metadata={"help": "write beside the pictures themselves, in place of a mirror below --to"},
    )
    texts: bool = field(default=True, metadata={"help": "title, description and alternative text too"})
    regions: bool = field(default=True, metadata={"help": "regions too"})


@dataclass(frozen=True, slots=True)
class CocoOptions(Options):
    masks: str = field(
        default="rle",
        metadata={"help": "rle: exact, at the original's size; polygon: outlines; none: boxes alone"},
    )
    root: str = field(default="", metadata={"help": "put before each file_name: where the libraries lie"})


@dataclass(frozen=True, slots=True)
class CsvOptions(Options):
    separator: str = field(
        default="|",
        metadata={"help": "between the keywords of a cell: | as Omeka S and CollectiveAccess split them"},
    )
    formulas: bool = field(
        default=False,
        metadata={
            "help": "leave cells that a spreadsheet takes for formulas as they are; else ' is put before them"
        },
    )


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files: what it is for, and how it is written."""

    name: str
    about: str
    carried: str
    lost: str
    version: int
    """raised when other files would be written of the same rows"""
    write: str
    """module of this package and function that writes it, so that the command line need not import them"""
    options: type[Options] = Options
    per_folder: bool = False
    """whether folders that did not change can be passed over; else the whole is written when one did"""
    merges: bool = False
    """whether people's own content of the files is kept, so that nothing is ever removed"""

    def writer(self) -> Callable[[Job], None]:
        module, _, function = self.write.partition(":")
        writer: Callable[[Job], None] = getattr(import_module(f"vistag_assets.exports.{module}"), function)
        return writer


FORMATS = {
    format_.name: format_
    for format_ in (
        Format(
            "xmp",
            "XMP sidecars for Lightroom, digiKam, darktable, PhotoPrism, Immich",
            carried="tags as flat and as hierarchical keywords, title, description, alternative text, regions with their "
            "outline and concept; what people wrote into a sidecar stays",
            lost="probabilities, evidence, holes of masks, regions of more than one piece (their box is written)",
            version=1,
            write="xmp:write",
            options=XmpOptions,
            per_folder=True,
            merges=True,
        ),
        Format(
            "coco",
            "COCO's JSON of images, boxes and masks, and results with scores",
            carried="boxes, masks, concepts as categories, tags and captions of images, the detector's scores in "
            "results.json",
            lost="phrases outside the vocabulary, titles and descriptions, hierarchy, evidence",
            version=1,
            write="coco:write_coco",
            options=CocoOptions,
        ),
        Format(
            "lvis",
            "LVIS's JSON: as coco, federated",
            carried="boxes, masks, categories with synonyms, definitions and frequency, what people rejected as negative "
            "categories, all others as not exhaustive; results with scores",
            lost="phrases outside the vocabulary, titles and descriptions, hierarchy, evidence",
            version=1,
            write="coco:write_lvis",
            options=CocoOptions,
        ),
        Format(
            "csv",
            "CSV for collection systems (Omeka S, CollectiveAccess) and spreadsheets",
            carried="file, size, date, title, description, caption, tags with concept, URI, hierarchy, probability and state",
            lost="boxes, masks, more than one place of a tag in the hierarchy",
            version=1,
            write="csv_table:write",
            options=CsvOptions,
        ),
    )
}
