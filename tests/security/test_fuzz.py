"""A short run of what `make fuzz` does for half an hour, the same inputs each time; and what it has found."""

import logging
import warnings
from pathlib import Path
from random import Random
from zlib import crc32

import image_zoo as zoo
import pytest
from fuzz_targets import CONTENT_CODES, LIMITS, TARGETS
from mutations import mutate_bytes

from resources.images import ingest_folder

INPUTS = {"predictions.json": 40}  # the slower ones
USUAL_INPUTS = 150
ALWAYS_READ = {"vocabulary.txt"}
"""A list of keywords may be any text."""
FILES_A_KIND = 12


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"image"}))
def test_mutated_texts_are_read_or_refused_as_declared(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    target, random = TARGETS[name], Random(crc32(name.encode()))
    seen = {target.check(seed) for seed in target.seeds}
    for _ in range(INPUTS.get(name, USUAL_INPUTS)):
        seen.add(target.check(target.mutate(random, random.choice(target.seeds), target.seeds)))
    assert len(seen) > 1 or name in ALWAYS_READ, "some inputs are read, others refused"


FOUND = {
    "a header that is no UTF-8": ("truth.csv", b"image,\xfftag\na.jpg,bowl\n", "UnusableFile"),
    "a registration without end": ("registration", b'{"a":' * 5000, "CorruptRegistration"),
    "a fusion without end": ("fusion", b"[" * 100_000, "FusionError"),
    "a tier without end": ("tier", b"[" * 5000, "TierError"),
    "a list as a key": ("tier", b"? [a]\n: b\n", "TierError"),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_broke_once_is_refused_in_a_sentence(found: str) -> None:
    name, content, error = FOUND[found]
    assert TARGETS[name].check(content) == error


def test_mutated_images_end_as_rows_or_rejects_and_stay_as_they_are(tmp_path: Path) -> None:
    """Through the ingest and its processes: no file crashes a decoder, hangs, or takes more memory than it may."""
    random, contents = Random(6), [content for content, _, _ in zoo.usable().values()]
    files = {
        f"{number}-{name}": mutate_bytes(random, content, contents)
        for name, (content, _, _) in zoo.usable().items()
        for number in range(FILES_A_KIND)
    }
    zoo.write(tmp_path / "library", files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = ingest_folder(tmp_path / "library", tmp_path / "library", tmp_path / "home", LIMITS)
    images = done.images.to_pylist()
    rejects = done.rejects.to_pylist()
    names = [name for row in images for name in (row["path"], *row["also_at"])]
    assert sorted([*names, *(row["path"] for row in rejects)]) == sorted(files)
    assert {row["code"] for row in rejects} <= CONTENT_CODES
    assert min(len(images), len(rejects)) > len(files) / 10, "mutations neither harmless nor hopeless"
    assert {file.name: file.read_bytes() for file in (tmp_path / "library").iterdir()} == files
