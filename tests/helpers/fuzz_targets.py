"""What is fuzzed, with what, and what must hold: shared by the short run (test_fuzz.py) and the long one (fuzz.py)."""

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import image_zoo as zoo
import numpy as np
from faulty_server import said
from mutations import mutate_bytes, mutate_text

from evaluation.readers import UnusableFile, read_predictions, read_truth
from evaluation.readers.ground_truth import read_ground_truth
from resources.home import CorruptRegistration, Home, SettingsError, read_settings
from resources.http_client import OddReplyError, strict_json
from resources.images import Decoded, Limits, Reject, decode_to_proxy
from resources.models.detectors.deepdataspace import TaskError
from resources.models.detectors.dino_x import _read as read_objects
from resources.models.tiers import TierError, load_tier, tier_names
from resources.models.vlms.completions import UnusableAnswerError, read_answer
from resources.models.vlms.description import parse_description
from resources.yaml_file import YamlFileError, read_yaml
from taxonomy import Taxonomy, TaxonomyError, load_taxonomy, starter_taxonomy
from taxonomy.facets import STARTER_FACETS, load_facets
from taxonomy.loading import WRITERS
from vistag_assets.language.repair import salvaged, tidied
from vistag_assets.tags.fusion import FusionError, read_fusion
from vistag_assets.whole_image.caption_form import caption_problems, keywords, without_opener

ROOT = Path(__file__).parents[2]
LIMITS = Limits(max_megapixels=4, proxy_max_side_px=128)
CONTENT_CODES = frozenset(
    ["empty", "not_an_image", "truncated", "damaged", "unsupported", "too_large", "out_of_memory"]
)


@dataclass(frozen=True)
class Target:
    """`check` raises where a property is broken, and returns a word for what became of the input."""

    check: Callable[[bytes], str]
    seeds: Sequence[bytes]
    mutate: Callable[[Random, bytes, Sequence[bytes]], bytes]


def check_image(content: bytes) -> str:
    """A file ends as a picture within the limits or as a reject of a known code, by nothing else."""
    try:
        decoded = decode_to_proxy(io.BytesIO(content), LIMITS)
    except Reject as error:
        reject = error
    else:
        return _checked(decoded)
    assert reject.code in CONTENT_CODES, reject
    assert len(reject.reason) < 2000, reject
    reject.reason.encode()
    return reject.code


def _checked(decoded: Decoded) -> str:
    assert decoded.image.mode == "RGB"
    assert 0 < min(decoded.image.size) <= max(decoded.image.size) <= LIMITS.proxy_max_side_px
    assert min(decoded.source_width_px, decoded.source_height_px, decoded.frames) >= 1
    assert 0 <= decoded.phash < 2**64
    return "image"


def _in_file(name: str, read: Callable[[Path], object], *expected: type[Exception]) -> Callable[[bytes], str]:
    """A reader of files may raise the errors that it declares, each with a sentence that names the file."""

    def check(content: bytes) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            refused: Exception | None = None
            try:
                read(path)
            except expected as error:
                refused = error
            assert path.read_bytes() == content, "a file that is read stays as it is"
        assert refused is None or path.name in str(refused), refused
        return type(refused).__name__

    return check


def check_answer(content: bytes) -> str:
    """What a model answered is a description or none."""
    text = content.decode("utf-8", "replace")
    for description in (parse_description(text), salvaged(text)):
        if description is not None:
            tidied(description, 60)
            return "description"
    return "none"


def _refused(error: Exception) -> str:
    assert len(str(error)) < 1000
    str(error).encode()
    return type(error).__name__


def check_reply(content: bytes) -> str:
    """What a served model replied is an answer whose figures are finite and whose text is text, or none."""
    try:
        answer = read_answer(strict_json(content), max_tokens=16)
    except (OddReplyError, UnusableAnswerError) as error:
        return _refused(error)
    assert np.isfinite(answer.logprobs).all()
    assert np.isfinite(answer.entropies).all()
    assert "".join(answer.tokens).strip() == answer.text or not answer.tokens
    answer.text.encode()
    caption_problems(answer.text, finished=answer.finished)
    keywords(without_opener(answer.text))
    return "answer"


def check_objects(content: bytes) -> str:
    """What DINO-X replied is boxes within the image and scores from 0 to 1, or a failure of that image."""
    try:
        told = strict_json(content)
        found = read_objects(told, {"bowl": [0]}, (64, 48), "bowl")
    except (OddReplyError, TaskError) as error:
        return _refused(error)
    assert ((found.boxes_xywh >= 0) & (found.boxes_xywh <= 1)).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    return "objects"


# Targets

_STARTER = starter_taxonomy()
_SMALL = Taxonomy(tuple(c for c in _STARTER.concepts if not c.broader)[:12], _STARTER.facets)
_COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 3, "name": "bowl"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12}
    ],
}
_RESULTS = [{"image_id": 1, "category_id": 3, "bbox": [1.0, 2, 3, 4], "score": 0.5}]
_CSV_OF_OPEN_IMAGES = b"""ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf
a,xclick,/m/bowl,1,0.1,0.5,0.2,0.75,0,0
"""
_LVIS = _COCO | {
    "images": [{"id": 1, "coco_url": "http://h/a.jpg", "width": 64, "height": 48, "neg_category_ids": [3]}],
    "categories": [{"id": 3, "name": "bowl", "frequency": "r"}],
}
_CORPUS = _COCO | {
    "info": {"split": "validate"},
    "categories": [{"id": 3, "name": "bowl", "concept_id": "bowl"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 3,
            "bbox": [1, 2, 3, 4],
            "segmentation": [[1, 2, 4, 2, 4, 6]],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 3,
            "bbox": [0, 0, 9, 9],
            "segmentation": {"size": [48, 64], "counts": "0a"},
        },
    ],
}
_REGISTRATION = {"key": "a", "library": "a", "root": "/a", "relative": "."}
_SETTINGS = {"tier": "demo", "taxonomy": None, "watched": {"a": "/a"}, "settle_seconds": 20}
_DESCRIPTION = {
    "title": "A bowl",
    "claims": [{"aspect": "subject", "text": "A bowl.", "regions": ["r1"]}],
    "tags": ["bowl"],
}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


TARGETS = {
    "image": Target(
        check_image,
        [*(c for c, _, _ in zoo.usable().values()), *(c for c, _ in zoo.unusable().values())],
        mutate_bytes,
    ),
    **{
        f"vocabulary{suffix}": Target(
            _in_file(f"v{suffix}", load_taxonomy, TaxonomyError), [write(_SMALL).encode()], mutate_text
        )
        for suffix, write in WRITERS.items()
    },
    "truth.json": Target(_in_file("t.json", read_truth, UnusableFile), [_json(_COCO)], mutate_text),
    "truth.jsonl": Target(
        _in_file("metadata.jsonl", read_truth, UnusableFile),
        [b'{"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["bowl"]}}\n'],
        mutate_text,
    ),
    "truth.csv": Target(
        _in_file("t.csv", read_truth, UnusableFile), [b"image,tag\na.jpg,bowl\n"], mutate_text
    ),
    "truth.lvis.json": Target(_in_file("t.json", read_truth, UnusableFile), [_json(_LVIS)], mutate_text),
    "truth.openimages.csv": Target(
        _in_file("t.csv", read_truth, UnusableFile), [_CSV_OF_OPEN_IMAGES], mutate_text
    ),
    "truth.corpus.json": Target(
        _in_file("g.json", read_ground_truth, UnusableFile), [_json(_CORPUS)], mutate_text
    ),
    "predictions.csv": Target(
        _in_file("p.csv", read_predictions, UnusableFile), [b"image,tag,score\na.jpg,bowl,0.5\n"], mutate_text
    ),
    "predictions.openimages.csv": Target(
        _in_file("p.csv", read_predictions, UnusableFile), [_CSV_OF_OPEN_IMAGES], mutate_text
    ),
    "predictions.jsonl": Target(
        _in_file("metadata.jsonl", read_predictions, UnusableFile),
        [b'{"file_name": "a.jpg", "tags": ["bowl"], "scores": [0.5]}\n'],
        mutate_text,
    ),
    "predictions.json": Target(
        _in_file("p.json", read_predictions, UnusableFile), [_json(_RESULTS)], mutate_text
    ),
    "tier": Target(
        _in_file("t.yaml", lambda path: load_tier(str(path)), TierError),
        [(ROOT / "resources/models/tiers" / f"{name}.yaml").read_bytes() for name in tier_names()],
        mutate_text,
    ),
    "facets": Target(
        _in_file("facets.yaml", load_facets, TaxonomyError), [STARTER_FACETS.read_bytes()], mutate_text
    ),
    "yaml": Target(
        _in_file("t.yaml", read_yaml, YamlFileError),
        [b"a: &a {b: [1, -2.5, true, null, 'c']}\nc: *a\nd: |\n  x\n? e\n: f\n", b"a: 2001-01-01\n<<: 0x1\n"],
        mutate_text,
    ),
    "settings": Target(
        _in_file("settings.json", lambda path: read_settings(Home(path.parent)), SettingsError),
        [_json(_SETTINGS)],
        mutate_text,
    ),
    "registration": Target(
        _in_file("folders/a.json", lambda path: Home(path.parents[1]).folder("a"), CorruptRegistration),
        [_json(_REGISTRATION)],
        mutate_text,
    ),
    "fusion": Target(
        _in_file("fusion.json", read_fusion, FusionError),
        [path.read_bytes() for path in (ROOT / "demo").rglob("fusion.json")],
        mutate_text,
    ),
    "reply": Target(check_reply, [_json(said("A", " bowl", ".").body)], mutate_text),
    "objects": Target(
        check_objects,
        [_json({"objects": [{"category": "Bowl", "score": 0.5, "bbox": [0, 0, 9, 9]}]})],
        mutate_text,
    ),
    "answer": Target(check_answer, [_json(_DESCRIPTION)], mutate_text),
}
