"""The formats that vistag can write, as data: what each is for, what it carries and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module


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
class OriginalsOptions(Options):
    texts: bool = field(default=True, metadata={"help": "title, description and alternative text too"})
    regions: bool = field(default=True, metadata={"help": "regions too"})
    backup: bool = field(default=True, metadata={"help": "keep each file as it was, in backups/ of the home"})


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
class YoloOptions(Options):
    pictures: bool = field(
        default=True, metadata={"help": "the upright working copies too; no: annotations alone"}
    )
    outlines: bool = field(
        default=False, metadata={"help": "outlines, for segmentation; else boxes, for detection"}
    )


@dataclass(frozen=True, slots=True)
class VocOptions(Options):
    pictures: bool = field(
        default=True, metadata={"help": "the upright working copies too; no: annotations alone"}
    )


@dataclass(frozen=True, slots=True)
class LoraOptions(Options):
    pictures: bool = field(
        default=True, metadata={"help": "the upright working copies too; no: annotations alone"}
    )
    content: str = field(default="tags", metadata={"help": "tags, caption, or mixed: the caption, then tags"})
    trigger: str = field(default="", metadata={"help": "word that each text begins with"})
    order: str = field(
        default="ranked", metadata={"help": "ranked: surest tag first; shuffled: by the picture's id"}
    )
    most_tags: int = field(default=0, metadata={"help": "tags at most; 0: all"})
    banned_openers: str = field(
        default="this image shows|this is a picture of|this is an image of|the image shows|an image of|a picture of|"
        "a photo of|a photograph of|there is",
        metadata={"help": "words that no caption is to begin with, parted by |"},
    )


@dataclass(frozen=True, slots=True)
class HfOptions(Options):
    layout: str = field(
        default="folder",
        metadata={"help": "folder: pictures and metadata.jsonl; parquet: shards with the pictures inside"},
    )


@dataclass(frozen=True, slots=True)
class WebdatasetOptions(Options):
    shard_mb: int = field(default=1000, metadata={"help": "10^6 bytes from which the next shard begins"})


@dataclass(frozen=True, slots=True)
class FiftyoneOptions(Options):
    pictures: bool = field(
        default=True, metadata={"help": "the upright working copies too; no: samples name the originals"}
    )
    labels: bool = field(default=True, metadata={"help": "tags as a field of Classifications"})
    regions: str = field(
        default="masks",
        metadata={"help": "masks: Detections with instance masks; boxes: without; none: no such field"},
    )


@dataclass(frozen=True, slots=True)
class IiifOptions(Options):
    base: str = field(
        default="http://localhost:8000", metadata={"help": "the address that the folder will be served at"}
    )


@dataclass(frozen=True, slots=True)
class SkosOptions(Options):
    syntax: str = field(default="turtle", metadata={"help": "turtle, jsonld or ntriples"})
    base: str = field(
        default="urn:x-vistag:file/",
        metadata={"help": "IRI that library and path of a picture are put behind"},
    )


@dataclass(frozen=True, slots=True)
class LabelStudioOptions(Options):
    root: str = field(
        default="/data/local-files/?d=",
        metadata={"help": "put before library and path of each picture: local storage's, or an address"},
    )


@dataclass(frozen=True, slots=True)
class CvatOptions(Options):
    root: str = field(default="", metadata={"help": "put before library and path of each picture"})


TEXTS = ("captions", "descriptions")
REGIONS = ("grounded_regions", "region_matches")
MASKS = ("region_masks",)
PICTURES = ("proxies",)


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
    reads: tuple[str, ...]
    """tables beside `images` and `tags`: what is written follows from no others"""
    options: type[Options] = Options
    per_folder: bool = False
    """whether folders that did not change can be passed over; else the whole is written when one did"""
    merges: bool = False
    """whether people's own content of the files is kept, so that nothing is ever removed"""

    def writer(self) -> Callable[..., None]:
        """Takes a `Job`."""
        module, _, function = self.write.partition(":")
        writer: Callable[..., None] = getattr(import_module(f"vistag_assets.exports.{module}"), function)
        return writer


ORIGINALS = Format(
    "originals",
    "XMP in the pictures' own files, by exiftool: JPEG, TIFF, PNG, WebP, HEIC and DNG",
    carried="what xmp carries; keywords, title and description as IIM too where a file has IIM",
    lost="what xmp loses; other formats",
    version=1,
    write="originals:write",
    reads=(*TEXTS, *REGIONS, *MASKS),
    options=OriginalsOptions,
    per_folder=True,
    merges=True,
)
"""What `vistag export xmp --write-originals` writes: no format of its own for whoever lists them."""
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
            reads=(*TEXTS, *REGIONS, *MASKS),
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
            version=2,
            write="coco:write_coco",
            reads=("captions", *REGIONS, *MASKS),
            options=CocoOptions,
        ),
        Format(
            "lvis",
            "LVIS's JSON: as coco, federated",
            carried="boxes, masks, categories with synonyms, definitions and frequency, what people rejected as negative "
            "categories, all others as not exhaustive; results with scores",
            lost="phrases outside the vocabulary, titles and descriptions, hierarchy, evidence",
            version=2,
            write="coco:write_lvis",
            reads=("captions", *REGIONS, *MASKS),
            options=CocoOptions,
        ),
        Format(
            "csv",
            "CSV for collection systems (Omeka S, CollectiveAccess) and spreadsheets",
            carried="file, size, date, title, description, caption, tags with concept, URI, hierarchy, probability "
            "and state",
            lost="boxes, masks, more than one place of a tag in the hierarchy",
            version=1,
            write="csv_table:write",
            reads=(*TEXTS, *REGIONS),
            options=CsvOptions,
        ),
        Format(
            "yolo",
            "YOLO's data set for detection or segmentation, with data.yaml",
            carried="boxes or outlines of concepts, pictures",
            lost="phrases outside the vocabulary, tags without a region, holes of masks, scores, texts, "
            "hierarchy, which picture is for validation",
            version=1,
            write="yolo:write",
            reads=(*PICTURES, *REGIONS, *MASKS),
            options=YoloOptions,
        ),
        Format(
            "voc",
            "Pascal VOC's XML, an image a file",
            carried="boxes with labels, pictures",
            lost="masks, tags without a region, scores, texts, hierarchy, URIs",
            version=1,
            write="voc:write",
            reads=(*PICTURES, *REGIONS),
            options=VocOptions,
            per_folder=True,
        ),
        Format(
            "lora",
            "Captions for training LoRAs: a .txt beside each picture, and kohya's metadata_cap.json",
            carried="tags and caption as text, a trigger word, pictures",
            lost="probabilities, regions, hierarchy, URIs, commas within a tag",
            version=2,
            write="lora:write",
            reads=(*PICTURES, "captions"),
            options=LoraOptions,
        ),
        Format(
            "hf",
            "Hugging Face's imagefolder, or Parquet with the pictures inside",
            carried="pictures, tags with concept, state and probability, texts, boxes with scores",
            lost="masks, hierarchy, evidence",
            version=1,
            write="imagefolder:write",
            reads=(*PICTURES, *TEXTS, *REGIONS),
            options=HfOptions,
        ),
        Format(
            "webdataset",
            "WebDataset's tar shards: picture, json and caption of each",
            carried="pictures, tags with concept, state and probability, texts, boxes with scores",
            lost="masks, hierarchy, evidence, file names as keys (path is in the json)",
            version=1,
            write="shards:write",
            reads=(*PICTURES, *TEXTS, *REGIONS),
            options=WebdatasetOptions,
        ),
        Format(
            "fiftyone",
            "FiftyOne's dataset on disk (FiftyOneDataset): samples.json, metadata.json, data/",
            carried="pictures, tags with concept, URI, state and probability as Classifications, boxes with scores and "
            "masks as Detections, texts",
            lost="hierarchy, evidence, what people rejected",
            version=1,
            write="fiftyone:write",
            reads=(*PICTURES, *TEXTS, *REGIONS, *MASKS),
            options=FiftyoneOptions,
        ),
        Format(
            "iiif",
            "IIIF Presentation 3 with W3C Web Annotations: a Manifest a folder, a page an image",
            carried="tags as tagging annotations with the concept's URI where that is an address, outlines or boxes, title, "
            "description, "
            "pictures",
            lost="probabilities, holes of masks, hierarchy, evidence, deep zoom",
            version=2,
            write="iiif:write",
            reads=(*PICTURES, *TEXTS, *REGIONS, *MASKS),
            options=IiifOptions,
            per_folder=True,
        ),
        Format(
            "skos",
            "Linked data: image to concept with probability, and the vocabulary",
            carried="concepts by their IRI, probability, state, title, description; the vocabulary with hierarchy "
            "and labels in all languages",
            lost="phrases outside the vocabulary, regions, evidence",
            version=1,
            write="linked_data:write",
            reads=TEXTS,
            options=SkosOptions,
        ),
        Format(
            "label-studio",
            "Label Studio's tasks with predictions, and the labelling configuration",
            carried="boxes with scores and tags as predictions, caption",
            lost="masks, probabilities of single tags, hierarchy, URIs, who said it",
            version=2,
            write="label_studio:write",
            reads=("captions", *REGIONS),
            options=LabelStudioOptions,
        ),
        Format(
            "cvat",
            "CVAT for images 1.1: boxes, outlines and tags",
            carried="outlines or boxes, tags",
            lost="scores, holes of masks, texts, hierarchy, URIs, who said it",
            version=2,
            write="cvat:write",
            reads=(*REGIONS, *MASKS),
            options=CvatOptions,
        ),
    )
}
