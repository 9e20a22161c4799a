"""What is installed and loaded has the bytes that somebody looked at."""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from resources.models.checkpoints import ModelUnavailableError, checkpoint_directory
from resources.models.encoders import EncoderSpec
from resources.models.tiers import load_tier, model_specs

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock"]


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Package -> its version and the number of its hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").strip())
    found = {}
    for entry in entries:
        told = re.match(r"([a-z0-9._-]+)==(\S+)", entry)
        assert told is not None, entry[:80]
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", entry)
        found[told[1]] = (told[2], len(hashes))
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_its_hashes(name: str) -> None:
    found = locked(name)
    assert len(found) > 100
    assert [package for package, (_, hashes) in found.items() if not hashes] == []


def test_locks_say_what_the_constraints_say() -> None:
    """`make lock` was run after the last change of either."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {plain(name): version for name, version in (line.split("==") for line in lines if "==" in line)}
    everything = locked("requirements-dev.lock")
    other = {
        name: version
        for name, (version, _) in everything.items()
        if pins.get(plain(name), version) != version
    }
    assert other == {}
    assert locked("requirements.lock").items() <= everything.items()


@pytest.mark.parametrize(("name", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("dev",))])
def test_locks_hold_what_the_project_asks_for(name: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(one for extra in extras for one in project["optional-dependencies"][extra]),
    ]
    names = {plain(re.match(r"[\w.-]+", one).group()) for one in wanted}  # type: ignore[union-attr]
    assert names - locked(name).keys() == set()


def test_the_two_commands_of_the_readme_install_by_hash() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"\$\(LOCKED\) (\S+)", recipe) == LOCKS
    assert "--require-hashes" in recipe.partition("LOCKED :=")[2].splitlines()[0]
    assert "--no-deps" in recipe.partition("ITSELF :=")[2].splitlines()[0]


def test_bundled_weights_are_pinned_and_are_what_they_are_pinned_to() -> None:
    specs = [spec for spec in model_specs(load_tier("demo")).values() if Path(spec.model).is_absolute()]
    assert len(specs) == 3
    for spec in specs:
        weights = {path.name for path in Path(spec.model).glob("*.safetensors")}
        assert {name for name, _ in spec.sha256} == weights, (
            "after an export: write the new hash into demo.yaml"
        )
        assert checkpoint_directory(spec) == Path(spec.model)


@pytest.fixture
def pinned(tmp_path: Path) -> EncoderSpec:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    sha256 = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    return EncoderSpec.model_validate(
        {"model": str(tmp_path), "family": "siglip", "licence": "own", "sha256": sha256}
    )


def test_weights_of_other_bytes_are_not_loaded(pinned: EncoderSpec) -> None:
    weights = checkpoint_directory(pinned) / "model.safetensors"
    weights.write_bytes(b"other weights")
    with pytest.raises(ModelUnavailableError, match=r"model\.safetensors has the SHA-256 .* is pinned to"):
        checkpoint_directory(pinned)
    with pytest.raises(ModelUnavailableError, match="is pinned to"):
        _ = pinned.implementation()(pinned, "cpu").fingerprint
    weights.unlink()
    with pytest.raises(ModelUnavailableError, match="is missing, and its SHA-256 is pinned"):
        checkpoint_directory(pinned)


def test_exchanged_bundled_weights_are_not_loaded(tmp_path: Path) -> None:
    encoder = load_tier("demo").encoder
    shutil.copytree(encoder.model, tmp_path / "copy")
    with (tmp_path / "copy/model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x7f")
    with pytest.raises(ModelUnavailableError, match="is pinned to"):
        checkpoint_directory(encoder.model_copy(update={"model": str(tmp_path / "copy")}))


@pytest.mark.parametrize("sha256", [{"a": "short"}, {"a": "G" * 64}, {"a": None}, ["a"], "a" * 64])
def test_a_pin_that_is_none_is_refused(sha256: object) -> None:
    with pytest.raises(ValueError, match="sha256"):
        EncoderSpec.model_validate({"model": "/m", "family": "siglip", "licence": "own", "sha256": sha256})
