"""Every table of the lake, once: its columns and what they mean, its key, where its ids come from.

The schemas that stages write, the rules of `vistag verify`, the columns that Dagster's UI describes and docs/tables.md
(`make docs`) are made of this. Nothing but pyarrow is needed to read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

ANY_SIZE = 1
"""The length of a vector before an encoder is known; see `Table.sized`."""
_TEXT, _TEXTS, _VECTOR = pa.string(), pa.list_(pa.string()), pa.list_(pa.float16(), ANY_SIZE)
_F32, _F64, _BOX = pa.float32(), pa.float64(), pa.list_(pa.float32(), 4)
LATER = b"later"
"""In the metadata of a field: stored rows may lack it."""
EVALUATION = "evaluation"
FILE_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its Arrow type, and what its values mean, with unit and range."""

    name: str
    type: pa.DataType
    meaning: str
    later: bool = False
    """Whether rows that were stored without it are as good as new: it is null in them."""

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, metadata={LATER: b""} if self.later else None)


@dataclass(frozen=True)
class Table:
    """A table of the lake. `columns` in their order; a name alone is a column of `COMMON`."""

    name: str
    group: str
    """of the asset graph, which is the name of its room"""
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """columns that tell rows apart within a partition"""
    parents: tuple[str, ...] = ()
    """An id that all of these have has rows here too, or a note that it has none or failed."""
    partitioned: bool = True
    always: bool = False
    """whether a folder has it wherever it has `images`"""

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([column.field for column in self.columns])

    def sized(self, dimension: int) -> pa.Schema:
        """The schema with vectors of an encoder's dimension."""
        vector = pa.list_(_VECTOR.value_type, dimension)
        return pa.schema([c.field.with_type(vector) if c.type == _VECTOR else c.field for c in self.columns])

    def select(self, *names: str) -> pa.Schema:
        """The schema of some of the columns."""
        return pa.schema([self.schema.field(name) for name in names])


_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}

# fmt: off
# A line a column: the whole of a table is to be seen at once.
COMMON: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("id", _TEXT, "of the image: first 32 hex digits of the SHA-256 of the file's bytes"),
        Column("fingerprint", _TEXT,
               "16 hex digits of what the row was computed by; a stage computes the rows whose fingerprint is missing"),
        Column("concept_id", _TEXT, "of the vocabulary"),
        Column("phrase", _TEXT, "what the detector is asked; a concept's preferred label, in English where it has one"),
        Column("bbox", _BOX, "x and y of the top left, width and height, relative to the upright image, 0..1"),
        Column("counts", _TEXT, "COCO's compressed run-length encoding of the mask"),
        Column("region_id", _TEXT, "first 12 digits of the id, -r and the number of the region, best first, from 1"),
        Column("modified_at", FILE_TIME, "of the file, as its disk says"),
        Column("prompt", _TEXT, "exactly what the model was asked"),
        Column("mean_logprob", _F32, "of the answer's own tokens, natural logarithm"),
        Column("entropy", _F32, "mean over the answer's own tokens of the entropy over the 20 most probable, nats"),
        Column("micro", _F64, "recall over all true tags, 0..1"),
        Column("macro", _F64, "mean over the tags of the band, 0..1"),
        Column("ci95_low", _F64, "of micro: lower end of the 95 % interval over images"),
        Column("ci95_high", _F64, "of micro: upper end of that interval"),
        Column("mean_average_precision", _F64, "mean over the tags of the band, 0..1"),
        Column("tags", pa.int32(), "tags of the band"),
        Column("tier", _TEXT, "that the models are of"),
    )
}


def _table(
    name: str,
    group: str,
    about: str,
    *columns: str | Column,
    key: tuple[str, ...],
    parents: tuple[str, ...] = (),
    partitioned: bool = True,
    always: bool = False,
) -> Table:
    own = tuple(COMMON[column] if isinstance(column, str) else column for column in columns)
    return Table(name, group, about, own, key, parents, partitioned, always)


def _evaluation(name: str, about: str, *columns: str | Column, key: tuple[str, ...]) -> Table:
    """A table of a whole evaluation: no partition a folder."""
    return _table(name, EVALUATION, about, *columns, key=key, partitioned=False)


def _like(name: str, meaning: str, type_: pa.DataType | None = None) -> Column:
    """A common column that means something else in one table."""
    return replace(COMMON[name], meaning=meaning, type=type_ or COMMON[name].type)


IMAGES = _table(
    "images", "ingest",
    "One row a picture: content hash, path, size, format, time, perceptual hash.",
    "id",
    Column("path", _TEXT, "of the file, relative to the library, posix"),
    Column("also_at", _TEXTS, "other names of the same content in this folder"),
    Column("bytes", pa.int64(), "size of the file"),
    Column("width", pa.int32(), "pixels, EXIF orientation applied"),
    Column("height", pa.int32(), "pixels, EXIF orientation applied"),
    Column("format", _TEXT, "of the file: JPEG, PNG, ..."),
    Column("mode", _TEXT, "of the file's pixels, as Pillow names it: RGB, L, CMYK, ..."),
    Column("frames", pa.int32(), "more than 1 in an animation, of which the first is used"),
    "modified_at",
    Column("changed_at", FILE_TIME,
           "when the system last saw content, name, owner or permissions change, which no program sets back"),
    Column("inode", pa.uint64(), "of the file on its disk; null on an object store"),
    Column("taken_at", pa.timestamp("s"), "from EXIF, local time"),
    Column("phash", pa.uint64(), "64-bit DCT hash of the picture"),
    Column("pixel_hash", _TEXT,
           "of the decoded upright picture, 32 hex digits: equal when only metadata of a file changed"),
    Column("colour", _TEXT, "where the meaning of its colours came from, or what was assumed: icc, assumed_srgb, ..."),
    Column("notes", _TEXTS, "what was passed over or assumed for the picture to come in; empty where nothing was"),
    Column("keywords", _TEXTS,
           "flat, of people and their programs, from the file and its sidecars, without vistag's own; null: not read",
           later=True),
    Column("keyword_paths", pa.list_(_TEXTS), "hierarchical ones, the broadest name of each first", later=True),
    Column("file_title", _TEXT, "title by people, from the file and its sidecars", later=True),
    Column("file_description", _TEXT, "description by people, likewise", later=True),
    Column("creators", _TEXTS, "who made it, as the file says", later=True),
    Column("rating", _F32, "stars, 0..5, and -1 for rejected", later=True),
    Column("latitude", _F64, "degrees, north is positive (WGS 84)", later=True),
    Column("longitude", _F64, "degrees, east is positive (WGS 84)", later=True),
    Column("dated", _TEXT, "when what it shows was so, ISO 8601, as exact as people said it", later=True),
    Column("described_by", _TEXT,
           "16 hex digits of the version of the reader of the columns before and of the sidecars' names, sizes and times; "
           "null: not read",
           later=True),
    "fingerprint",
    key=("id",),
)
REJECTS = _table(
    "rejects", "ingest",
    "Files that cannot be used, each with the reason and what to do about it.",
    Column("path", _TEXT, "of the file, relative to the library, posix"),
    Column("bytes", pa.int64(), "size of the file"),
    _like("modified_at", "when the system last saw content, name, owner or permissions change"),
    Column("code", _TEXT,
           "a short stable word for the reason: `empty`, `not_an_image`, `truncated`, `too_large`, ..."),
    Column("reason", _TEXT, "what is wrong with the file and what to do"),
    "fingerprint",
    key=("path",), always=True,
)
PROXIES = _table(
    "proxies", "ingest",
    "Bounded working copies: upright, sRGB, 8 bit. Later stages read these only.",
    "id",
    Column("path", _TEXT, "of the copy, relative to the home"),
    Column("width", pa.int32(), "pixels of the copy"),
    Column("height", pa.int32(), "pixels of the copy"),
    "fingerprint",
    key=("id",), parents=("images",), always=True,
)
GLOBAL_EMBEDDINGS = _table(
    "global_embeddings", "whole_image",
    "One unit vector an image, by the encoder of the tier.",
    "id",
    Column("embedding", _VECTOR, "unit length"),
    "fingerprint",
    key=("id",), parents=("proxies",),
)
CONCEPT_EMBEDDINGS = _table(
    "concept_embeddings", "whole_image",
    "One unit vector a phrase: every label of every concept in the templates of its facet.",
    "concept_id",
    Column("text", _TEXT, "a label of the concept in a template of its facet"),
    Column("embedding", _VECTOR, "unit length"),
    "fingerprint",
    key=("concept_id", "text"), partitioned=False,
)
FAMILIARITY = _table(
    "familiarity", "whole_image",
    "Whether each image is like those that the tier was made for. Nothing where the tier does not say what it was made for.",
    "id",
    Column("strangeness", _F32, "how far it lies beyond what the tier was made for; above 0 it is unfamiliar"),
    Column("unfamiliar", _TEXT, "why probabilities of the image are not to be believed; null where it is familiar"),
    "fingerprint",
    key=("id",), parents=("proxies",),
)
TAG_SCORES = _table(
    "tag_scores", "whole_image",
    "The best tags of each image: cosine, logit, score and probability, ranked.",
    "id", "concept_id",
    Column("rank", pa.int16(), "1 = best, ties by concept_id"),
    Column("cosine", _F32, "of the angle between picture and concept, -1..1"),
    Column("logit", _F32, "raw score of the encoder's own head"),
    Column("score", _F32, "sigmoid or softmax of the logit, 0..1"),
    Column("probability", _F32, "calibrated, 0..1; the score itself where the encoder has no calibration"),
    Column("inherited_from", _TEXT, "the narrower concept that lent the score, or null"),
    "fingerprint",
    key=("id", "concept_id"), parents=("global_embeddings",),
)
TAGGER_SCORES = _table(
    "tagger_scores", "whole_image",
    "What a tagger says of each image: a score for each tag of its own, or of the vocabulary where it is asked that. "
    "Nothing where the tier names no tagger.",
    "id",
    Column("rank", pa.int32(), "1 = best, ties in the order of the tagger's tags"),
    Column("tag", _TEXT, "as the tagger calls it; a concept's label where it was asked the vocabulary"),
    Column("category", _TEXT, "of the tag, as its makers sort them (general, character, ...); null where they do not"),
    _like("concept_id", "that was asked about; null for a tag of the tagger's own, which is looked up among the labels of "
          "the vocabulary when evidence is gathered"),
    Column("score", _F32, "of the tagger, 0..1, not calibrated"),
    Column("threshold", _F32, "from which score on its makers, or the tier, take the tag for seen, 0..1"),
    "fingerprint",
    key=("id", "rank"), parents=("proxies",),
)
OCR_TEXT = _table(
    "ocr_text", "whole_image",
    "The lines of text in each image, in reading order. Nothing where the tier names no OCR.",
    "id",
    Column("line", pa.int16(), "reading order, from 0"),
    Column("text", _TEXT, "what was read"),
    Column("confidence", _F32, "of the engine, 0..1"),
    "bbox", "fingerprint",
    key=("id", "line"), parents=("proxies",),
)
DEPTH_MAPS = _table(
    "depth_maps", "whole_image",
    "The depth of each image, estimated from it alone. Nothing where the tier names no estimator.",
    "id",
    Column("height", pa.int32(), "pixels of the map"),
    Column("width", pa.int32(), "pixels of the map, the longer side at most the tier's `max_side_px`"),
    Column("depth", pa.binary(), "PNG of one channel of 16 bits: 0 is depth_min, 65535 depth_max"),
    Column("depth_min", _F32, "in `unit`"),
    Column("depth_max", _F32, "in `unit`"),
    Column("unit", _TEXT,
           "metres; relative (large is far) or relative_inverse (large is near), scale and shift unknown"),
    "fingerprint",
    key=("id",), parents=("proxies",),
)
CAPTIONS = _table(
    "captions", "whole_image",
    "One factual sentence an image, how sure the model was of it, and the keywords it names.",
    "id",
    Column("caption", _TEXT, "one sentence"),
    "mean_logprob", "entropy",
    Column("tokens", pa.int16(), "of the answer"),
    Column("keywords", pa.list_(pa.struct([("phrase", _TEXT), ("concept_id", _TEXT), ("logprob", _F32)])),
           "what the model answered to the tags prompt; concept_id where it is a label of the vocabulary, logprob the "
           "mean over the phrase's tokens"),
    Column("problems", _TEXTS,
           "what is wrong with the text: `empty`, `cut`, `forbidden_opener`, `several_sentences`, `requoted` (a "
           "quotation that was not read was replaced by the line most like it)"),
    "prompt", "fingerprint",
    key=("id",), parents=("proxies",),
)
CANDIDATES = _table(
    "candidates", "regions",
    "The phrases to look for in each image: likely tags, rare tags with a lower threshold, proposals.",
    "id",
    Column("rank", pa.int16(), "1 = best, ties by concept_id"),
    "phrase",
    _like("concept_id", "of the vocabulary; null for a phrase that is not in it"),
    Column("reason", _TEXT, "why it is looked for: score, tail (the lower threshold) or vlm (proposed)"),
    Column("probability", _F32, "of tag_scores; null for a proposal"),
    Column("needs_review", pa.bool_(), "nobody may rely on it before a person has looked"),
    "fingerprint",
    key=("id", "rank"), parents=("tag_scores",),
)
GROUNDED_REGIONS = _table(
    "grounded_regions", "regions",
    "Boxes of the candidates that the detector finds, with its scores and what it was asked.",
    "id", "region_id",
    _like("concept_id", "of the vocabulary; null for a phrase that is not in it"),
    "phrase", "bbox",
    Column("score", _F32, "the detector's confidence in box and phrase, 0..1"),
    Column("text_score", _F32, "of the phrase's tokens alone, 0..1"),
    "prompt",
    Column("chunk", pa.int16(), "which of the image's prompts, from 0"),
    "fingerprint",
    key=("id", "region_id"), parents=("candidates", "proxies"),
)
REGION_MASKS = _table(
    "region_masks", "regions",
    "The outline of each region whose facet wants one, as COCO RLE.",
    "id", "region_id",
    Column("height", pa.int32(), "pixels of the proxy"),
    Column("width", pa.int32(), "pixels of the proxy"),
    "counts",
    Column("area", pa.int64(), "pixels of the proxy"),
    Column("area_share", _F32, "of the image, 0..1"),
    Column("box_fill", _F32, "share of the box's pixels that the mask covers, 0..1"),
    Column("score", _F32, "the segmenter's own estimate of its IoU, 0..1; null where it has none"),
    Column("method", _TEXT, "the segmenter's family; `box` where it found nothing and the box was filled"),
    "fingerprint",
    key=("id", "region_id"), parents=("grounded_regions", "proxies"),
)
REGION_EMBEDDINGS = _table(
    "region_embeddings", "regions",
    "One unit vector a region, and one of the region without its background where it has a mask.",
    "id", "region_id",
    Column("embedding", _VECTOR, "of the square around the box, unit length"),
    Column("masked_embedding", _VECTOR, "of the region without its background, unit length; null without a mask"),
    "fingerprint",
    key=("id", "region_id"), parents=("region_masks", "grounded_regions", "proxies"),
)
REGION_MATCHES = _table(
    "region_matches", "regions",
    "Whether the crop of each region, seen by the encoder, shows what it was found as.",
    "id", "region_id",
    _like("concept_id", "that the region was found as; null for a phrase outside the vocabulary"),
    Column("cosine", _F32, "of the angle between crop and concept, -1..1"),
    Column("logit", _F32, "raw score of the encoder's own head"),
    Column("probability", _F32, "calibrated, 0..1; the score itself where the encoder has no calibration"),
    Column("rank", pa.int32(), "of the concept among the whole vocabulary for this crop, 1 = best"),
    Column("verdict", _TEXT, "confirmed, unsure or rejected, by the probability"),
    "fingerprint",
    key=("id", "region_id"), parents=("region_embeddings", "grounded_regions"),
)
REGION_CAPTIONS = _table(
    "region_captions", "language",
    "What the model calls each region, from a crop of it alone.",
    "id", "region_id",
    Column("caption", _TEXT, "what the model calls the crop"),
    "mean_logprob", "entropy", "fingerprint",
    key=("id", "region_id"), parents=("grounded_regions", "proxies"),
)
ROUTING = _table(
    "routing", "language",
    "The lane of each image, fast or heavy, with the reasons and within the tier's budget.",
    "id",
    Column("lane", _TEXT, "fast or heavy"),
    Column("reasons", _TEXTS,
           "why the image asks for the heavy lane, strongest first: `low_coverage`, `caption_entropy`, `text`, "
           "`hedging`"),
    Column("priority", _F32, "weighted sum of the strengths of the reasons, 0 without one"),
    _like("fingerprint", "of the lane alone: a budget makes rows depend on the whole folder, routed anew each time"),
    key=("id",), parents=("proxies",),
)
TAGS = _table(
    "tags", "tags",
    "The final tags: every source's evidence fused into one calibrated probability, in the state that people gave it.",
    "id",
    _like("concept_id", "of the vocabulary; null for a phrase that is not in it"),
    _like("phrase", "the label, or what was proposed"),
    Column("rank", pa.int16(), "1 = best, ties by concept_id"),
    Column("probability", _F32, "fused of all evidence and calibrated, 0..1; 0 where nothing but a person speaks for it"),
    Column("global_probability", _F32, "of tag_scores; null where that source is silent, as the other evidence is"),
    Column("detector_score", _F32, "of the concept's best box, 0..1"),
    Column("region_probability", _F32, "match of the concept's best box, 0..1"),
    Column("vlm_logprob", _F32, "of the keyword among the VLM's keywords"),
    Column("region_caption_score", _F32, "of the surest caption of a crop that names the concept, 0..1"),
    Column("ocr_score", _F32, "confidence of the text line that names the concept, 0..1"),
    Column("tagger_score", _F32, "of the tagger, for the best of its tags that names the concept, 0..1", later=True),
    Column("region_ids", _TEXTS, "boxes behind the tag, best first"),
    Column("inherited_from", _TEXT, "the narrower concept that lent probability and evidence, or null"),
    Column("state", _TEXT, "machine, or what people decided: human, rejected"),
    Column("decision", pa.int64(), "where in the log of decisions the state comes from; null: the machine's"),
    Column("needs_review", pa.bool_(), "nobody may rely on it before a person has looked"),
    Column("ungrounded", pa.bool_(), "no box behind a tag that should have one"),
    Column("fusion", _TEXT, "version of what fused the evidence"),
    Column("iri", _TEXT, "of the concept in the vocabulary's own file; null where it has none", later=True),
    Column("notation", _TEXT, "number or code of the concept in the catalogue; null where it has none", later=True),
    "fingerprint",
    key=("id", "concept_id", "phrase"), parents=("proxies",),
)
DESCRIPTIONS = _table(
    "descriptions", "language",
    "A catalogue text an image whose claims cite regions, by the schema in resources/models/vlms.",
    "id",
    Column("title", _TEXT, "of the catalogue text"),
    Column("description", _TEXT, "the catalogue text"),
    Column("claims", pa.list_(pa.struct([("aspect", _TEXT), ("text", _TEXT), ("region_ids", _TEXTS), ("flags", _TEXTS)])),
           "flags: `uncited`, `wrong_region` (the model cited one that the claim does not name), `unknown_region`, "
           "`speculation`, `unsupported:<noun>`"),
    Column("tags", _TEXTS, "as the text names them"),
    Column("words", pa.int16(), "of the description"),
    Column("lane", _TEXT, "fast or heavy"),
    Column("caption", _TEXT, "of the lane that wrote the text"),
    Column("valid", pa.bool_(),
           "whether the model's first answer fits the JSON Schema; null where none was asked for"),
    Column("problems", _TEXTS,
           "what is wrong with the text: `cut`, `prose`, `repaired`, `from_caption`, `words`, `empty`"),
    Column("json", _TEXT, "title, description and claims by the JSON Schema; null where there is nothing to say"),
    "fingerprint",
    key=("id",), parents=("captions", "proxies"),
)
FLAGS = _table(
    "flags", "tags",
    "Images that people have to look at before they are used, by the rules of a policy. Nothing where there is no policy.",
    "id",
    Column("rule", _TEXT, "name of the rule in the policy"),
    Column("reason", _TEXT, "what the policy tells those who look at the image"),
    Column("because", _TEXTS, "what makes the rule hold, a sentence a piece of evidence"),
    Column("region_ids", _TEXTS, "boxes among the evidence"),
    _like("bbox", "of the first piece of evidence that is somewhere in the picture; null where none is"),
    "fingerprint",
    key=("id", "rule"), parents=("tags",),
)
NEAR_DUPLICATES = _table(
    "near_duplicates", "search",
    "Groups of images that are copies of one another, within folders and across them, and which one to keep.",
    Column("group_id", _TEXT, "id of the image that is to be kept"),
    Column("folder_key", _TEXT, "of the image"),
    "id",
    Column("path", _TEXT, "of the file, relative to the library, posix"),
    Column("keep", pa.bool_(), "whether it is the one to keep: most pixels, then most bytes, then the earliest"),
    Column("cosine", _F32, "of the embeddings of this image and the kept one, -1..1"),
    Column("bits", pa.int16(), "that the perceptual hashes of this image and the kept one differ in, 0..64"),
    "fingerprint",
    key=("folder_key", "id"), partitioned=False,
)

REVIEW_QUEUE = _table(
    "review_queue", "review",
    "Pairs of an image and a concept of which a person's word would tell most about rare tags, in the order to look at them.",
    "id", "concept_id",
    Column("rank", pa.int32(), "the order, from 1: what comes first is worth most"),
    Column("folder_key", _TEXT, "partition key of a folder that holds the image"),
    Column("pixel_hash", _TEXT, "of the picture, as in `images`; of pictures that are equal one is asked about"),
    Column("region_id", _TEXT, "the box to look at; null: the whole image"),
    Column("reason", _TEXT,
           "`boundary` (close to the concept's own threshold), `no_positive` (likeliest of a concept that nobody has "
           "confirmed anywhere), `neighbour` (looks like one that was confirmed), `uniform` (by chance)"),
    Column("probability", _F32, "of `tags`, else of `tag_scores`, 0..1; 0 where both are silent"),
    Column("is_uniform", pa.bool_(), "whether the pair is of the uniform slice, which was drawn whatever models say"),
    Column("inclusion_probability", _F64,
           "chance of the pair, and of each other one of its stratum (tags of the machine, all others), to be in the "
           "uniform slice as it is now, 0..1; null outside of it"),
    Column("shown", _TEXT, "fingerprint of the row of `tags` that is looked at; null where there is none"),
    key=("id", "concept_id"), partitioned=False,
)

GROUND_TRUTH = _evaluation(
    "ground_truth",
    "One row a true tag of an image in the lake.",
    "id", "concept_id",
    key=("id", "concept_id"),
)
GROUND_TRUTH_REGIONS = _evaluation(
    "ground_truth_regions",
    "One row a true region: its box and, where somebody drew one, its mask.",
    "id", "concept_id",
    Column("instance_id", _TEXT, "the same for the concepts of one thing"),
    "bbox",
    Column("height", pa.int32(), "pixels of the mask; null without one"),
    Column("width", pa.int32(), "pixels of the mask; null without one"),
    _like("counts", "COCO's compressed run-length encoding of the mask; null without one"),
    key=(),
)
GROUND_TRUTH_IMAGES = _evaluation(
    "ground_truth_images",
    "The annotated images in the lake, also those without tags.",
    "id",
    key=("id",),
)
GROUND_TRUTH_CONCEPTS = _evaluation(
    "ground_truth_concepts",
    "The evaluated vocabulary, also what no image carries.",
    "concept_id",
    key=("concept_id",),
)
FREQUENCY_BANDS = _evaluation(
    "frequency_bands",
    "Tags by how many images carry them: head, body, tail, and those without support.",
    "concept_id",
    Column("band", _TEXT, "head, body, tail or zero"),
    Column("lvis_band", _TEXT, "rare (<= 10 images), common (<= 100), frequent or zero"),
    Column("images", pa.int32(), "that carry the tag"),
    Column("rank", pa.int32(), "1 = on the most images, ties by concept_id"),
    key=("concept_id",),
)
_BAND = Column("band", _TEXT, "overall, head, body, tail, or by LVIS rare, common, frequent")
TAG_RECALL = _evaluation(
    "tag_recall",
    "Recall@1/5/10/20 of head, body, tail and overall, with supports, ceilings and intervals: of the final tags, "
    "or of the embeddings alone where there are none.",
    _BAND,
    Column("k", pa.int32(), "the best tags of each image that count"),
    "micro", "macro", "ci95_low", "ci95_high",
    Column("ceiling", _F64, "the largest micro recall that k allows"),
    Column("support", pa.int64(), "true tags"),
    "tags",
    _like("mean_average_precision", "mean over the tags of the band, 0..1, the same for each k"),
    Column("f1_micro", _F64, "over all true tags of the band, 0..1, the same for each k"),
    Column("f1_macro", _F64, "mean over the tags of the band, 0..1, the same for each k"),
    key=("band", "k"),
)
TAG_FIGURES = _evaluation(
    "tag_figures",
    "How well each tag of the evaluated vocabulary is recovered.",
    "concept_id",
    Column("band", _TEXT, "head, body, tail or zero"),
    Column("lvis_band", _TEXT, "rare (<= 10 images), common (<= 100), frequent or zero"),
    Column("images", pa.int32(), "that carry the tag"),
    Column("rank", pa.int32(), "1 = on the most images, ties by concept_id"),
    Column("found", pa.int32(), "images that carry it and have it among their first ten tags"),
    Column("recall", _F64, "found / images, 0..1; null where no image carries it"),
    Column("best_rank", pa.int32(), "on the images that carry it; null where it was never suggested there"),
    Column("average_precision", _F64, "0..1; null where no image carries it"),
    key=("concept_id",),
)
TAG_RANKS = _evaluation(
    "tag_ranks",
    "One row a true tag of an image: its rank among what was suggested there.",
    "id", "concept_id",
    Column("band", _TEXT, "head, body or tail"),
    Column("rank", pa.int32(), "1 = best; null where it was not suggested"),
    key=("id", "concept_id"),
)
TAG_CONFUSIONS = _evaluation(
    "tag_confusions",
    "Of each rare tag that is missed somewhere, the wrong tags of its facet that stand above it.",
    "concept_id",
    Column("images", pa.int32(), "that carry the tag"),
    Column("missed", pa.int32(), "of those, it is not among the first ten tags"),
    Column("instead", _TEXT, "a concept; null where no wrong tag of its facet is among the first ten"),
    Column("times", pa.int32(), "missed images on which `instead` is; 0 where it is null"),
    key=("concept_id", "instead"),
)
GROUNDING_RECALL = _evaluation(
    "grounding_recall",
    "Recall and precision of the true regions at IoU 0.5, 0.75 and 0.5:0.95, by band, as LVIS counts.",
    _BAND,
    Column("iou", _TEXT, "from which overlap of two regions on one is found: 0.5, 0.75, or the mean over 0.5:0.95"),
    _like("micro", "recall over all true regions, 0..1"),
    "macro", "ci95_low", "ci95_high", "mean_average_precision",
    Column("support", pa.int64(), "true regions"),
    "tags",
    key=("band", "iou"),
)
PHRASE_GROUNDING = _evaluation(
    "phrase_grounding",
    "Of the concepts that have true regions in an image, those whose best region is on one, by band.",
    _BAND,
    _like("micro", "share of the phrases whose best region is on a true one at IoU 0.5, 0..1"),
    _like("macro", "mean of that over tags"),
    "ci95_low", "ci95_high",
    Column("support", pa.int64(), "phrases: an image and a concept that has true regions in it"),
    "tags",
    key=("band",),
)
TEXT_FIGURES = _evaluation(
    "text_figures",
    "What captions and descriptions name of what is there, whether descriptions fit their schema, and which signs were "
    "read; of all images and of those of each lane.",
    Column("figure", _TEXT,
           "sign_recall, schema_valid, or caption_ and description_ with object_recall and hallucination_rate"),
    Column("lane", _TEXT, "fast or heavy; null for all images"),
    Column("value", _F64, "0..1"),
    _like("ci95_low", "of value: lower end of the 95 % interval over images"),
    _like("ci95_high", "of value: upper end of that interval"),
    Column("support", pa.int64(), "things that the value is a share of"),
    key=("figure", "lane"),
)
LADDER = _evaluation(
    "ladder",
    "The same images by each option, from captions alone to the full graph: tag recall@10, recall of regions, "
    "seconds an image. Null where an option has no such thing.",
    Column("option", _TEXT, "how much of the graph ran, A1 to B3"),
    Column("tag_recall_overall", _F64, "micro recall@10 over all tags"),
    Column("tag_recall_tail", _F64, "micro recall@10 of rare tags"),
    Column("grounding_recall_overall", _F64, "of all true regions at IoU 0.5"),
    Column("grounding_recall_tail", _F64, "of true regions of rare tags at IoU 0.5"),
    Column("tail_gain", _F64, "tag_recall_tail minus that of A2, image by image"),
    Column("tail_gain_ci95_low", _F64, "lower end of its 95 % interval over images"),
    Column("tail_gain_ci95_high", _F64, "upper end of that interval"),
    Column("seconds_per_image", _F64, "of all stages that the option needs"),
    key=("option",),
)
EVALUATION_HISTORY = _evaluation(
    "evaluation_history",
    "One row an evaluation, with its figures and the rank of every true tag: the baseline of later runs. Each "
    "materialisation adds one, as a partition of its own.",
    Column("run", _TEXT, "time and the first digits of the id of Dagster's run; the key of the partition"),
    Column("created_at", FILE_TIME, "when it was evaluated"),
    "tier",
    Column("option", _TEXT, "how much of the graph ran, A1 to B3"),
    Column("models", pa.list_(pa.struct([("role", _TEXT), ("name", _TEXT), ("fingerprint", _TEXT)])),
           "all that had a part in the run"),
    Column("taxonomy", _TEXT, "fingerprint of the vocabulary"),
    Column("corpus", _TEXT, "fingerprint of images, true tags and evaluated vocabulary"),
    Column("images", pa.int64(), "that were evaluated"),
    Column("baseline", _TEXT, "the run it was compared with; null where there was none"),
    Column("accepted_by", _TEXT, "check or person; null where rare tags were lost"),
    Column("tag_recall", pa.list_(pa.struct([*TAG_RECALL.schema])), "the rows of that table"),
    Column("grounding_recall", pa.list_(pa.struct([*GROUNDING_RECALL.schema])), "the rows of that table"),
    Column("ranks", pa.list_(pa.struct([*TAG_RANKS.schema])), "of every true tag, 1 = best; null where it was not suggested"),
    key=("run",),
)

# fmt: on
TABLES: Mapping[str, Table] = {
    table.name: table for table in list(globals().values()) if isinstance(table, Table)
}
"""By name, in the order of the graph."""
PER_FOLDER_TABLES = tuple(name for name, table in TABLES.items() if table.partitioned)


def type_name(kind: pa.DataType) -> str:
    """An Arrow type for people; a vector of an encoder has `dimension` numbers."""
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(field.name for field in kind)}>"
    if pa.types.is_fixed_size_list(kind):
        length = "dimension" if kind.list_size == ANY_SIZE else kind.list_size
        return f"{type_name(kind.value_type)}[{length}]"
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    return _FLOATS.get(str(kind), str(kind))
