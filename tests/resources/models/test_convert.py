"""`vistag convert`: published pickles to safetensors, and pickles that want to run something."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_encoders import save_tiny_clip
from transformers import CLIPModel
from typer.testing import CliRunner, Result

from resources.models.checkpoints import load_model
from resources.models.convert import ConversionError, convert, default_target, record_of
from vistag_assets.cli import app

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2, dtype=torch.bfloat16)}


def vistag(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Hostile:
    """Unpickled, it makes a file."""

    def __init__(self, made: Path) -> None:
        self._made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._made),)


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "under model"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_weights_come_out_as_they_went_in_with_both_checksums(
    tmp_path: Path, wrapped: bool, zipped: bool
) -> None:
    source = tmp_path / "published.pth"
    content = {"model": {**WEIGHTS, "step": 3}, "epoch": 7} if wrapped else WEIGHTS
    torch.save(content, source, _use_new_zipfile_serialization=zipped)
    told = vistag("convert", str(source))
    assert told.exit_code == 0, told.output
    target = tmp_path / "published.safetensors"
    found = load_file(target)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())
    record = json.loads(record_of(target).read_text())
    assert (record["source"], record["source_sha256"]) == ("published.pth", sha256(source))
    assert (record["result"], record["result_sha256"]) == (target.name, sha256(target))
    assert record["taken_from"] == ("model" if wrapped else "")
    assert record["left_out"] == (["epoch", "model.step"] if wrapped else [])


def test_it_is_done_once(tmp_path: Path) -> None:
    source, target = tmp_path / "w.pth", tmp_path / "other" / "model.safetensors"
    torch.save(WEIGHTS, source)
    assert convert(source, target)[1]
    before = target.stat().st_mtime_ns
    assert not convert(source, target)[1]
    assert target.stat().st_mtime_ns == before
    assert "made of w.pth before" in vistag("convert", str(source), "--to", str(target)).output
    torch.save({"a": torch.zeros(1)}, source)
    with pytest.raises(ConversionError, match=r"was made of another file than .*w\.pth is now"):
        convert(source, target)
    record_of(target).unlink()
    with pytest.raises(ConversionError, match="no record says what it was made of"):
        convert(source, target)


def test_a_result_that_changed_is_told(tmp_path: Path) -> None:
    source, target = tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save(WEIGHTS, source)
    convert(source, target)
    target.write_bytes(target.read_bytes() + b" ")
    with pytest.raises(ConversionError, match=r"had .* when it was made"):
        convert(source, target)


@pytest.mark.parametrize("how", ["zip", "legacy", "bare"])
def test_code_of_a_pickle_does_not_run(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # what a user may have set for other programs
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    source, made = tmp_path / "hostile.pth", tmp_path / "made"
    content = {"model": WEIGHTS, "callback": Hostile(made)}
    if how == "bare":
        source.write_bytes(pickle.dumps(content["callback"], protocol=2))
    else:
        torch.save(content, source, _use_new_zipfile_serialization=how == "zip")
    told = vistag("convert", str(source))
    assert told.exit_code == 1
    said = " ".join(told.output.split())
    assert "hostile.pth" in said.replace(" ", "")
    assert "asks for posix.mkdir" in said
    assert "nothing of it ran" in said
    assert not made.exists()
    assert not (tmp_path / "hostile.safetensors").exists()
    assert not [path for path in tmp_path.iterdir() if path != source]
    # and it is the loading that would have run it
    torch.load(source, weights_only=False) if how != "bare" else pickle.loads(source.read_bytes())  # noqa: S301
    assert made.is_dir()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"<!DOCTYPE html><html>404</html>",
        pickle.dumps(Hostile(Path("made")), protocol=4),
    ],
    ids=["empty", "text", "page", "newer protocol"],
)
def test_what_is_no_pickle_of_torch_is_told_with_its_name(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "odd.pth"
    source.write_bytes(content)
    with pytest.raises(ConversionError, match=r"odd\.pth cannot be read as weights") as told:
        convert(source, tmp_path / "out.safetensors")
    assert "weights_only=False" not in str(told.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_download_that_broke_off_is_told(tmp_path: Path) -> None:
    source = tmp_path / "half.pth"
    torch.save(WEIGHTS, source)
    source.write_bytes(source.read_bytes()[:-200])
    with pytest.raises(ConversionError, match=r"half\.pth cannot be read as weights"):
        convert(source, tmp_path / "out.safetensors")
    assert not zipfile.is_zipfile(source)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ({"epoch": 1, "lr": 0.1}, "epoch, lr"),
        ([1, 2], "list"),
        ({"generator": {"w": torch.zeros(1)}}, "generator"),
    ],
)
def test_a_pickle_without_weights_says_what_it_holds(tmp_path: Path, content: Any, held: str) -> None:
    source = tmp_path / "log.pth"
    torch.save(content, source)
    with pytest.raises(ConversionError, match=rf"log\.pth holds no weights by name \(it holds: {held}\)"):
        convert(source, tmp_path / "out.safetensors")


def test_a_tensor_alone_and_tied_weights_and_views(tmp_path: Path) -> None:
    torch.save(torch.eye(3), tmp_path / "embedding.pth")
    made, _ = convert(tmp_path / "embedding.pth", tmp_path / "embedding.safetensors")
    assert made.tensors == 1
    assert torch.equal(load_file(tmp_path / "embedding.safetensors")["tensor"], torch.eye(3))

    whole = torch.arange(12.0).reshape(3, 4)
    tied = {"a": whole, "b": whole, "row": whole[1], "across": whole.T}
    torch.save(tied, tmp_path / "tied.pth")
    convert(tmp_path / "tied.pth", tmp_path / "tied.safetensors")
    found = load_file(tmp_path / "tied.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tied.items())


def test_what_a_library_reads_weights_under(tmp_path: Path) -> None:
    """A checkpoint of transformers that has its weights as a pickle loads once they are converted."""
    directory = save_tiny_clip(tmp_path)
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save(weights, directory / "pytorch_model.bin")
    target = default_target(directory / "pytorch_model.bin")
    convert(directory / "pytorch_model.bin", target)
    assert target == directory / "model.safetensors"
    with safe_open(target, "pt") as file:
        assert file.metadata() == {"format": "pt"}
    model = load_model(directory, "CLIPModel", "float32", "cpu")
    assert isinstance(model, CLIPModel)
    name = "visual_projection.weight"
    assert torch.equal(model.state_dict()[name], weights[name])
    assert default_target(Path("x/open_clip_pytorch_model.bin")) == Path("x/open_clip_model.safetensors")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="There is no file"):
        convert(tmp_path / "no.pth", tmp_path / "no.safetensors")
    torch.save(WEIGHTS, tmp_path / "w.safetensors")
    with pytest.raises(ConversionError, match="is the pickle itself"):
        convert(tmp_path / "w.safetensors", tmp_path / "w.safetensors")
