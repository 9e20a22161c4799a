"""The table of models is whole: what it names exists, and what it promises is tested."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from resources.models.encoders import EncoderSpec
from resources.models.listing import as_markdown, model_rows
from resources.models.registry import PERMISSIVE, Family, RegistryError, registry
from resources.models.tiers import TierError, load_tier, model_specs, tier_names

ROOT = Path(__file__).parents[3]
OWN_DEPENDENCIES = [family for family in registry().families if family.extra is None]


@pytest.mark.parametrize("family", registry().families, ids=lambda family: f"{family.role}-{family.name}")
def test_every_family_has_a_proof_that_pytest_collects(family: Family) -> None:
    file, name = family.proof.split("::")
    functions = [
        node for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)
    ]
    assert name in {function.name for function in functions}


@pytest.mark.parametrize("family", OWN_DEPENDENCIES, ids=lambda family: f"{family.role}-{family.name}")
def test_every_family_has_its_class(family: Family) -> None:
    assert callable(family.implementation())


def test_a_checkpoint_has_one_row_in_a_role() -> None:
    rows = [(family.role, row.model) for family in registry().families for row in family.checkpoints]
    assert len(rows) == len(set(rows))


def test_a_tier_need_only_name_the_model() -> None:
    spec = EncoderSpec.model_validate({"model": "google/siglip2-base-patch16-256", "dtype": "float16"})
    assert (spec.family, spec.licence, spec.batch_size) == ("siglip", "Apache-2.0", 256)
    assert spec.dtype == "float16"


def test_our_tiers_name_registered_models_under_permissive_licences() -> None:
    for name in tier_names():
        tier = load_tier(name)
        assert tier.accept_licence == ()
        for spec in model_specs(tier).values():
            assert spec.licence in PERMISSIVE
            assert name == "demo" or registry().find(spec.role, spec.model)


def test_a_licence_that_restricts_has_to_be_accepted_by_name(tmp_path: Path) -> None:
    encoder = {"family": "siglip", "model": "m", "licence": "CC-BY-NC-4.0"}
    tier = {"description": "d", "device": "cpu", "encoder": encoder}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(tier))
    with pytest.raises(TierError, match=r"mine.yaml:\n  encoder: .*CC-BY-NC-4.0.*accept_licence"):
        load_tier(str(path))
    path.write_text(json.dumps(tier | {"accept_licence": ["CC-BY-NC-4.0"]}))
    assert load_tier(str(path)).encoder.licence == "CC-BY-NC-4.0"


def test_an_unknown_family_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"no detector family 'dino'; known: .*owlv2"):
        registry().family("detector", "dino")
    path = tmp_path / "mine.yaml"
    encoder = {"family": "clap", "model": "m", "licence": "own"}
    path.write_text(json.dumps({"description": "d", "device": "cpu", "encoder": encoder}))
    with pytest.raises(TierError, match=r"encoder: there is no encoder family 'clap'; known: .*siglip"):
        load_tier(str(path))


def test_a_key_that_stands_twice_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("description: d\ndevice: cpu\nencoder: {model: a}\nencoder: {model: b}\n")
    with pytest.raises(TierError, match=r"mine.yaml, line 4: the key 'encoder' stands twice"):
        load_tier(str(path))


def test_the_table_is_read_without_torch() -> None:
    code = "import sys; from resources.models.registry import registry; registry(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


SYSTEMS = """
SigLIP; SigLIP 2; CLIP; MetaCLIP 2; EVA-CLIP; OpenCLIP; DFN; PE-Core; BiomedCLIP
Grounding DINO; MM-Grounding-DINO; LLMDet; OWLv2; OmDet-Turbo; YOLOv8; YOLO11; Grounding DINO 1.5; DINO-X
groundingdino-py; sam2 package
SAM ViT-B; SAM ViT-H; SAM 2; SAM 3; EdgeTAM; MobileSAM; FastSAM; YOLOv8-seg
BLIP; BLIP-2; GIT; ViT-GPT2; Florence-2; Florence-2-PromptGen; Donut; Idefics2; Idefics3; SmolVLM; LLaVA 1.6
LLaVA-NeXT; LLaVA-OneVision; Qwen2-VL; Qwen2.5-VL; Qwen3-VL; InternVL; Gemma 3; JoyCaption; Moondream2
mPLUG-Owl2; OFA; BEiT-3; CogVLM; VinVL; TimeSformer; X-CLIP; GPT-4V
RAM++; Depth Anything V2; ZoeDepth; Marigold; RapidOCR; vLLM; LMDeploy; TensorRT-LLM; Triton
"""


@pytest.mark.parametrize(
    "system", [name.strip() for name in SYSTEMS.replace("\n", ";").split(";") if name.strip()]
)
def test_every_system_that_the_project_comes_from_has_a_row(system: str) -> None:
    carried = {name for family in registry().families for name in family.systems}
    gone = {name.strip() for row in registry().not_carried for name in row.system.split(",")}
    assert system in carried | gone


def test_the_page_of_models_is_the_one_that_is_made_of_the_table() -> None:
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == as_markdown(model_rows(registry())), (
        "make docs"
    )
