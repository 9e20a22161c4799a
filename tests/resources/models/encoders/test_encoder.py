"""The encoder against the transformers library itself, and the scoring against arithmetic written out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tiny_checkpoint import TEXT_LENGTH, save_tiny_siglip
from transformers import AutoModel, AutoProcessor, pipeline

from resources.lake import embedding_column
from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError, make_model
from resources.models.encoders import (
    Calibration,
    Encoder,
    EncoderSpec,
    Platt,
    ScoreHead,
    embed_in_batches,
    prefetch,
)
from resources.models.tiers import TierError, load_tier, tier_names
from vistag_assets.whole_image.scoring import (
    Scorer,
    descendant_rows,
    pool_phrases,
    propagate_to_ancestors,
    score_images,
)

PHRASES = [
    "a vase",
    "a photo of a gilded bronze figure",
    "Rust",
    "a long phrase, " * 9,
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_siglip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Encoder:
    return Encoder(spec_of(checkpoint), "cpu")


def spec_of(checkpoint: Path, **changes: object) -> EncoderSpec:
    fields = {"family": "siglip", "model": str(checkpoint), "batch_size": 3, "licence": "Apache-2.0"}
    return EncoderSpec.model_validate(fields | changes)


def pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(7)
    sizes = [(1, 1), (33, 7), (640, 3), (31, 480), (32, 32), (101, 99), (250, 251)]
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in (sizes[place % len(sizes)] for place in range(count))
    ]


def test_batched_images_equal_the_reference_one_by_one(checkpoint: Path, encoder: Encoder) -> None:
    model, processor = (
        AutoModel.from_pretrained(checkpoint, dtype=torch.float32),
        AutoProcessor.from_pretrained(checkpoint),
    )
    reference = []
    for picture in pictures(7):
        with torch.inference_mode():
            features = model.get_image_features(
                **processor(images=picture, return_tensors="pt")
            ).pooler_output[0]
        reference.append((features / features.norm()).numpy())
    embedded = encoder.embed_images(pictures(7))
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, np.stack(reference), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-6)


def test_scores_equal_those_of_the_zero_shot_pipeline(checkpoint: Path, encoder: Encoder) -> None:
    labels = ["a vase", "a chair of oak", "rust"]
    reference = pipeline("zero-shot-image-classification", model=str(checkpoint), dtype=torch.float32)
    cosine = encoder.embed_images(pictures(5)) @ encoder.embed_texts(labels).T
    scores = encoder.score_head.scores(encoder.score_head.logits(cosine))
    for picture, row in zip(pictures(5), scores, strict=True):
        answers = reference(picture, labels, hypothesis_template="{}")
        expected = {answer["label"]: answer["score"] for answer in answers}
        np.testing.assert_allclose(row, [expected[label] for label in labels], atol=1e-5)


def test_logits_equal_the_models_own(checkpoint: Path, encoder: Encoder) -> None:
    model, processor = (
        AutoModel.from_pretrained(checkpoint, dtype=torch.float32),
        AutoProcessor.from_pretrained(checkpoint),
    )
    inputs = processor(
        images=pictures(7),
        text=[phrase.lower() for phrase in PHRASES],
        padding="max_length",
        max_length=TEXT_LENGTH,
        truncation=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        expected = model(**inputs).logits_per_image.numpy()
    cosine = encoder.embed_images(pictures(7)) @ encoder.embed_texts(PHRASES).T
    np.testing.assert_allclose(encoder.score_head.logits(cosine), expected, atol=1e-4)


def test_an_embedding_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    alone = np.concatenate([encoder.embed_images([picture]) for picture in pictures(8)])
    batches = list(embed_in_batches(encoder, pictures(8), lambda picture: picture))
    assert [len(items) for items, _ in batches] == [3, 3, 2]
    np.testing.assert_allclose(np.concatenate([vectors for _, vectors in batches]), alone, atol=1e-5)


def test_texts_share_batches_by_length_and_come_back_in_their_order(encoder: Encoder) -> None:
    texts = [*PHRASES, "b", *reversed(PHRASES), "a longer one of many words, and then some more"]
    told: list[int] = []
    together = encoder.embed_texts(texts, told.append)
    alone = np.concatenate([encoder.embed_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert told == [*range(3, len(texts), 3), len(texts)]


def test_no_images_and_no_texts_give_empty_matrices(encoder: Encoder) -> None:
    assert encoder.embed_images([]).shape == (0, 32) == encoder.embed_texts([]).shape


def test_weights_are_loaded_only_to_embed(checkpoint: Path) -> None:
    encoder = Encoder(spec_of(checkpoint), "cpu")
    assert encoder.fingerprint
    assert encoder.dimension == 32
    assert encoder.score_head == ScoreHead("sigmoid", pytest.approx(10, rel=1e-3), -3.0)
    assert not encoder.is_loaded
    encoder.embed_texts(["a"])
    assert encoder.is_loaded


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    directory = save_tiny_siglip(tmp_path / "tiny")
    weights = load_file(directory / "model.safetensors")
    del weights["vision_model.post_layernorm.weight"]
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    spec = EncoderSpec(family="siglip", model=str(directory), licence="own")
    with pytest.raises(ModelUnavailableError, match="post_layernorm"):
        Encoder(spec, "cpu").load()


def test_fingerprint_follows_weights_preprocessing_and_dtype_but_not_the_place(
    tmp_path: Path, checkpoint: Path
) -> None:
    def fingerprint(directory: Path, **changes: object) -> str:
        return Encoder(spec_of(directory, **changes), "cpu").fingerprint

    first = fingerprint(checkpoint)
    assert fingerprint(save_tiny_siglip(tmp_path / "same")) == first
    assert fingerprint(checkpoint, batch_size=1) == first
    (tmp_path / "same" / "training.json").write_text("{}")
    (tmp_path / "same" / "calibration.json").write_text('{"slope": 1, "intercept": 0}')
    assert fingerprint(tmp_path / "same") == first

    processing = tmp_path / "same" / "processor_config.json"
    processing.write_text(processing.read_text().replace("0.5", "0.25"))
    others = {
        fingerprint(save_tiny_siglip(tmp_path / "other", seed=1)),
        fingerprint(checkpoint, dtype="bfloat16"),
        fingerprint(tmp_path / "same"),
    }
    assert len(others | {first}) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_tier_without_a_gpu_is_refused(checkpoint: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match="--tier cpu"):
        make_model(spec_of(checkpoint), "cuda")


def test_a_directory_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=str(tmp_path)):
        make_model(spec_of(tmp_path), "cpu")


def test_prefetch_keeps_order_and_never_runs_further_ahead_than_its_depth() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def load(item: int) -> int:
        with lock:
            started.append(item)
        return item * item

    for place, (item, loaded) in enumerate(prefetch(range(50), load, workers=3, depth=4)):
        assert (item, loaded) == (place, place * place)
        assert len(started) <= place + 1 + 4
    assert sorted(started) == list(range(50))


def test_prefetch_raises_at_the_item_that_failed() -> None:
    loaded = prefetch([2, 1, 0, 3], lambda number: 2 // number, workers=2, depth=3)
    assert [next(loaded), next(loaded)] == [(2, 1), (1, 2)]
    with pytest.raises(ZeroDivisionError):
        next(loaded)


def scorer(concept_ids: list[str], concepts: np.ndarray, **changes: object) -> Scorer:
    defaults: dict = {
        "head": ScoreHead("sigmoid", 10.0, -3.0),
        "calibration": None,
        "descendants": {},
        "keep_top": 10,
    }
    return Scorer(concept_ids, concepts.astype(np.float32), **(defaults | changes))


def tags_of(embedding: list[float], scorer: Scorer) -> list[dict]:
    table = score_images(["image"], np.array([embedding], dtype=np.float32), scorer)
    return table.to_pylist()


def test_equal_scores_are_ranked_by_concept_id() -> None:
    rows = tags_of(
        [1, 0], scorer(["a", "b", "c", "d"], np.array([[0, 1], [1, 0], [0, 1], [1, 0]]), keep_top=3)
    )
    assert [(row["concept_id"], row["rank"]) for row in rows] == [("b", 1), ("d", 2), ("a", 3)]


def test_columns_hold_cosine_logit_score_and_calibrated_probability() -> None:
    calibration = Calibration(Platt(0.5, 1.0), {"b": Platt(2.0, -1.0)})
    rows = tags_of([1, 0], scorer(["a", "b"], np.array([[0.6, 0.8], [0.8, 0.6]]), calibration=calibration))
    by_id = {row["concept_id"]: row for row in rows}
    assert by_id["a"]["cosine"] == pytest.approx(0.6)
    assert by_id["a"]["logit"] == pytest.approx(3.0)
    assert by_id["a"]["score"] == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert by_id["a"]["probability"] == pytest.approx(1 / (1 + np.exp(-2.5)))
    assert by_id["b"]["probability"] == pytest.approx(1 / (1 + np.exp(-9.0)))


def test_narrower_concepts_lend_their_score_at_every_distance() -> None:
    ids = ["furniture", "seat", "stool"]
    concepts = np.array([[0.1, 0], [0.2, 0], [0.9, 0]])
    pairs = [("seat", "furniture"), ("stool", "furniture"), ("stool", "seat")]
    rows = tags_of([1, 0], scorer(ids, concepts, descendants=descendant_rows(ids, pairs)))
    assert [(row["concept_id"], row["inherited_from"]) for row in rows] == [
        ("furniture", "stool"),
        ("seat", "stool"),
        ("stool", None),
    ]
    assert len({row["logit"] for row in rows}) == 1
    assert [row["inherited_from"] for row in tags_of([1, 0], scorer(ids, concepts))] == [None] * 3


def test_a_concept_keeps_its_own_score_in_a_tie_and_lends_nothing_upwards() -> None:
    values = np.array([[0.5, 0.5, 0.9], [0.2, 0.5, 0.5]], dtype=np.float32)
    assert propagate_to_ancestors(values, {0: [1]}).tolist() == [[0, 1, 2], [1, 1, 2]]
    assert propagate_to_ancestors(values, {0: [1, 2]}).tolist() == [[2, 1, 2], [1, 1, 2]]


def test_softmax_scores_add_up_to_one_over_the_concepts() -> None:
    scores = ScoreHead("softmax", 100.0).scores(np.array([[1000.0, 999.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(scores, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0]], atol=1e-6)


def test_a_softmax_over_a_vocabulary_becomes_a_chance_for_each_concept() -> None:
    head, prior = ScoreHead("softmax", 100.0), 10 / 900
    logits = np.zeros((3, 900), dtype=np.float32)
    logits[1, 7] = 30.0
    logits[2, :10] = 30.0
    nothing, one, ten = head.probabilities(logits)
    np.testing.assert_allclose(nothing, prior, rtol=1e-5)
    assert one[7] == pytest.approx(10 / (1 - prior) / (1 + 10 / (1 - prior)), rel=1e-5)
    assert one[0] < 1e-6
    np.testing.assert_allclose(head.scores(logits)[2, :10], 0.1, atol=1e-4)
    np.testing.assert_allclose(ten[:10], 0.5, atol=0.01)
    np.testing.assert_allclose(head.probabilities(np.zeros((1, 2), dtype=np.float32)), 0.5)
    sigmoid_head = ScoreHead("sigmoid", 10.0, -3.0)
    np.testing.assert_array_equal(sigmoid_head.probabilities(logits), sigmoid_head.scores(logits))


def test_an_uncalibrated_softmax_keeps_its_own_score_beside_the_probability() -> None:
    head, concepts = ScoreHead("softmax", 10.0), np.eye(4)[:3]
    rows = tags_of([0.8, 0.6, 0, 0], scorer(["a", "b", "c"], concepts, head=head))
    shares = np.exp([8.0, 6.0, 0.0]) / np.exp([8.0, 6.0, 0.0]).sum()
    np.testing.assert_allclose([row["score"] for row in rows], shares, rtol=1e-5)
    np.testing.assert_allclose([row["probability"] for row in rows], 3 * shares / (1 + 3 * shares), rtol=1e-5)
    calibrated = scorer(["a", "b", "c"], concepts, head=head, calibration=Calibration(Platt(1.0, -7.0)))
    assert tags_of([0.8, 0.6, 0, 0], calibrated)[0]["probability"] == pytest.approx(1 / (1 + np.exp(-1)))


def test_phrases_of_a_concept_are_pooled_to_unit_length() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    table = pa.table({"concept_id": ["b", "a", "b"], "embedding": embedding_column(vectors)})
    ids, pooled = pool_phrases(table)
    assert ids == ["a", "b"]
    np.testing.assert_allclose(pooled, [[0, 1], [np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-3)


def test_every_tier_loads_and_carries_a_permissive_licence() -> None:
    assert tier_names() == ["cpu", "demo", "gpu-16gb", "gpu-24gb", "gpu-96gb", "gpu-96gb-full", "offline"]
    for name in tier_names():
        assert load_tier(name).encoder.licence == "Apache-2.0"
    assert Path(load_tier("demo").encoder.model).is_absolute()


def test_an_unknown_tier_lists_the_known_ones() -> None:
    with pytest.raises(TierError, match="cpu, demo, gpu-16gb"):
        load_tier("gpu-1tb")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devise": "cpu"}, r"devise: unknown field; known: .*device"),
        ({"device": "tpu"}, r"device: .*'cpu' or 'cuda'"),
        ({"keep_top": 0}, r"keep_top: .*greater than 0"),
        (
            {"encoder": {"family": "siglip", "model": "m", "licence": "x", "dtype": "int3"}},
            r"encoder\.dtype: .*'float32'",
        ),
        ({"encoder": {"family": "siglip", "model": "m"}}, r"encoder\.licence: field required"),
    ],
)
def test_a_mistake_in_a_tier_names_file_field_and_what_is_allowed(
    tmp_path: Path, change: dict, message: str
) -> None:
    good = {
        "description": "d",
        "device": "cpu",
        "encoder": {"family": "siglip", "model": "m", "licence": "own"},
    }
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(good | change))  # JSON is YAML
    with pytest.raises(TierError, match=f"mine.yaml:\n.*{message}"):
        load_tier(str(path))


def test_a_bad_calibration_names_its_file(tmp_path: Path) -> None:
    checkpoint = save_tiny_siglip(tmp_path)
    (checkpoint / "calibration.json").write_text('{"slope": 1}')
    with pytest.raises(ValueError, match=r"calibration\.json: expected"):
        _ = Encoder(spec_of(checkpoint), "cpu").calibration


def test_scoring_and_fingerprints_need_no_torch(checkpoint: Path) -> None:
    code = (
        "import sys; from resources.models.checkpoints import make_model; from resources.models.encoders import EncoderSpec\n"
        f"e = make_model(EncoderSpec(family='siglip', model={str(checkpoint)!r}, licence='own'), 'cpu')\n"
        "e.fingerprint, e.dimension, e.score_head, e.calibration\n"
        "import vistag_assets.whole_image.scoring; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
