"""Code of a checkpoint that runs where a tier allows it: a stand-in of Moondream's published class, with its traits.

Moondream's own code cannot be had here. Like it, the stand-in computes a table when it is made, calls no `post_init`,
and offers `caption` and `query`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_parity import pictures
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.vlms import VlmSpec

CODE = """
import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

WORDS = ["bowl", "chair", "vase", "lamp", "oak", "clay", "red", "blue"]


class HfConfig(PretrainedConfig):
    model_type = "moondream1"


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.see = torch.nn.Linear(3, len(WORDS))
        self.register_buffer("table", torch.linspace(0.5, 1.5, len(WORDS)), persistent=False)

    def words(self, image, seed, settings):
        assert settings["temperature"] == 0
        colour = torch.tensor(np.asarray(image, np.float32).mean((0, 1)) / 255).to(self.see.weight)
        scores = self.see(colour) * self.table + seed % 7
        order = scores.sort(descending=True).indices[: settings["max_tokens"]].tolist()
        return " " + ", ".join(WORDS[place] for place in order) + " "


class HfMoondream(PreTrainedModel):
    config_class = HfConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = Inner()

    def caption(self, image, length="normal", stream=False, settings=None):
        return {"caption": f"{length}:" + self.model.words(image, 0, settings)}

    def query(self, image, question, stream=False, settings=None):
        return {"answer": f"{question}:" + self.model.words(image, len(question), settings)}
"""


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    directory = tmp_path / "moondream"
    directory.mkdir()
    (directory / "hf_moondream.py").write_text(CODE)
    auto = {"AutoConfig": "hf_moondream.HfConfig", "AutoModelForCausalLM": "hf_moondream.HfMoondream"}
    config = {"model_type": "moondream1", "architectures": ["HfMoondream"], "auto_map": auto}
    (directory / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    weights = {"model.see.weight": torch.randn(8, 3), "model.see.bias": torch.randn(8)}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def spec(model: Path | str, **changes: object) -> VlmSpec:
    given = {"family": "moondream", "licence": "Apache-2.0", "dtype": "float32", "remote_code": True}
    return VlmSpec.model_validate({"model": str(model)} | given | changes)


def test_moondream_answers_as_its_own_interface_does(checkpoint: Path) -> None:
    vlm = make_model(spec(checkpoint), "cpu")
    prompts = ["short", "long", "What is it?", "short", "normal", "List it.", "What is it?", "short"]
    answers = vlm.answer(pictures(), prompts, max_tokens=3)
    namespace: dict[str, object] = {"__name__": "hf_moondream"}
    exec(CODE, namespace)
    model = namespace["HfMoondream"](namespace["HfConfig"]())  # type: ignore[operator]
    from safetensors.torch import load_file

    model.load_state_dict(load_file(checkpoint / "model.safetensors"))
    settings = {"temperature": 0.0, "max_tokens": 3}
    for image, prompt, answer in zip(pictures(), prompts, answers, strict=True):
        image = image.convert("RGB")
        told = (
            model.caption(image, length=prompt, settings=settings)["caption"]
            if prompt in ("short", "normal", "long")
            else model.query(image, prompt, settings=settings)["answer"]
        )
        assert answer.text == told.strip() == "".join(answer.tokens)
        assert len(answer.logprobs) == len(answer.entropies) == 0
    assert len({answer.text for answer in answers}) > 4


def test_from_pretrained_of_transformers_5_does_not_load_such_a_class(checkpoint: Path) -> None:
    """Why the class is made directly. Where this one day passes, moondream.py can use load_model."""
    with pytest.raises(AttributeError, match="all_tied_weights_keys"):
        AutoModelForCausalLM.from_pretrained(checkpoint, trust_remote_code=True)


def test_the_code_is_part_of_the_fingerprint(checkpoint: Path) -> None:
    before = make_model(spec(checkpoint), "cpu").fingerprint
    (checkpoint / "hf_moondream.py").write_text(CODE + "\n# another version\n")
    assert make_model(spec(checkpoint, batch_size=2), "cpu").fingerprint != before


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("/m", {"remote_code": False}),
        ("vikhyatk/moondream2", {}),
        ("vikhyatk/moondream2", {"remote_code": False}),
    ],
)
def test_foreign_code_needs_to_be_allowed_at_a_revision(model: str, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="as `revision` and add `remote_code: true`"):
        spec(model, **changes)
    assert spec("vikhyatk/moondream2", revision="a" * 40).remote_code


def test_no_other_family_runs_foreign_code() -> None:
    with pytest.raises(ValueError, match="the family blip runs no code of a checkpoint"):
        spec("m", family="blip")


def test_code_of_another_repository_is_not_run(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "somebody/else--hf_moondream.HfMoondream"
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailableError, match="code of another repository is not run"):
        make_model(spec(checkpoint), "cpu").load()


def test_a_checkpoint_that_lacks_weights_is_an_error(checkpoint: Path) -> None:
    save_file({"model.see.bias": torch.from_numpy(np.zeros(8, np.float32))}, checkpoint / "model.safetensors")
    with pytest.raises(ModelUnavailableError, match=r"model\.see\.weight"):
        make_model(spec(checkpoint), "cpu").load()
