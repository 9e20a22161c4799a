"""Grounding DINO by its authors' package (`groundingdino-py`) on the same checkpoints: `backend: groundingdino-py`.

The package's last release takes three methods of BertModel that transformers 5 has no more; a subclass, used for this
model alone, has them again (docs/decisions/0006-groundingdino-py.md). It reads one image and one sentence at a time. The
sentence, the pixels and the reading of tokens as phrases are those of the native port: what could differ is the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import Device, ModelUnavailableError, shared_model
from resources.models.detectors.detections import Detections
from resources.models.detectors.grounding_dino import GroundingDinoDetector, Sentence
from resources.models.detectors.spec import DetectorSpec
from resources.models.package_weights import import_package, load_package_weights

if TYPE_CHECKING:
    from torch import Tensor

BACKEND = "groundingdino-py"
INSTALL = "pip install --no-build-isolation --no-deps groundingdino-py addict yapf"
_MODULE = "groundingdino"
_BACKBONES = {(96, 7): "swin_T_224_1k", (128, 12): "swin_B_384_22k", (192, 12): "swin_L_384_22k"}
"""Width and window of a Swin -> what the package calls it"""
_BACKBONE = "model.backbone.conv_encoder.model."
_LINEAR = {"linear1": "fc1", "linear2": "fc2"}
_RENAMED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    r"^backbone\.0\.norm1\.": (_BACKBONE + "hidden_states_norms.stage2.", {}),
    r"^backbone\.0\.norm2\.": (_BACKBONE + "hidden_states_norms.stage3.", {}),
    r"^backbone\.0\.norm3\.": (_BACKBONE + "hidden_states_norms.stage4.", {}),
    r"^backbone\.0\.patch_embed\.proj\.": (_BACKBONE + "embeddings.patch_embeddings.projection.", {}),
    r"^backbone\.0\.patch_embed\.norm\.": (_BACKBONE + "embeddings.norm.", {}),
    r"^backbone\.0\.layers\.": (
        _BACKBONE + "encoder.layers.",
        {
            "norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense", "attn.proj": "attention.output.dense", "attn.": "attention.self.",
        },
    ),
    r"^transformer\.encoder\.text_layers\.(\d+)\.": (
        r"model.encoder.layers.\1.text_enhancer_layer.",
        _LINEAR | {"norm1": "layer_norm_before", "norm2": "layer_norm_after"},
    ),
    r"^transformer\.encoder\.fusion_layers\.(\d+)\.": (
        r"model.encoder.layers.\1.fusion_layer.",
        {
            "gamma_v": "vision_param", "gamma_l": "text_param", "layer_norm_v.": "layer_norm_vision.",
            "layer_norm_l.": "layer_norm_text.", "v_proj": "vision_proj", "l_proj": "text_proj",
        },
    ),
    r"^transformer\.encoder\.layers\.(\d+)\.": (
        r"model.encoder.layers.\1.deformable_layer.",
        _LINEAR | {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"},
    ),
    r"^transformer\.decoder\.layers\.": (
        "model.decoder.layers.",
        _LINEAR | {
            "cross_attn.": "encoder_attn.", "ca_text.": "encoder_attn_text.", "catext_norm": "encoder_attn_text_layer_norm",
            "norm1": "encoder_attn_layer_norm", "norm2": "self_attn_layer_norm", "norm3": "final_layer_norm",
        },
    ),
    r"^transformer\.decoder\.ref_point_head": ("model.decoder.reference_points_head", {}),
    r"^transformer\.decoder\.norm": ("model.decoder.layer_norm", {}),
    r"^transformer\.enc_out_bbox_embed": ("model.encoder_output_bbox_embed", {}),
    r"^transformer\.tgt_embed": ("model.query_position_embeddings", {}),
    r"^transformer\.": ("model.", {}),
    r"^input_proj": ("model.input_proj_vision", {}),
    r"^feat_map": ("model.text_projection", {}),
    r"^bert\.": ("model.text_backbone.", {}),
}  # fmt: skip
"""How the package calls a weight -> how transformers does: the first that fits, and words that change in the rest."""
_JOINT = re.compile(r"(in_proj_|qkv\.)(weight|bias)$")
_PARTS = ("query", "key", "value")
_BOX_HEAD = re.compile(r"(?:model\.decoder\.)?bbox_embed\.(\d+)\.(.+)")
_UNUSED = re.compile(r"position_index|position_ids|pooler|label_enc")
_BUILDING = Lock()


class GroundingDinoPackage(GroundingDinoDetector):
    """A Grounding DINO checkpoint, as its authors' package runs it: an image and a sentence at a time.

    Raises ModelUnavailableError where the package is missing, before any work, and at the first image where the checkpoint
    is none that the package can run.
    """

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        if find_spec(_MODULE) is None:
            import_package(_MODULE, BACKEND, INSTALL)
        super().__init__(spec, device, backend=BACKEND)

    @cached_property
    def model(self) -> Any:
        def load() -> Any:
            from transformers import GroundingDinoConfig

            config = GroundingDinoConfig.from_pretrained(self.directory, local_files_only=True)
            built = build(config, self.processor.tokenizer)
            load_package_weights(
                built, self.directory, in_transformers, lambda name: bool(_UNUSED.search(name))
            )
            built.config = SimpleNamespace(max_text_len=config.max_text_len)
            return built.to(self.device).eval()

        return shared_model(self.directory, BACKEND, self.spec.dtype, self.device, load)

    def _forward(self, pixels: Tensor, sentences: Sequence[Sentence], length: int) -> list[Detections]:
        found = []
        for own, sentence in zip(pixels, sentences, strict=True):
            answer = self.model(own[None].to(self.device), captions=[sentence.text])
            tokens = answer["pred_logits"][0].float().sigmoid().cpu().numpy()
            found.append(self._read(tokens, answer["pred_boxes"][0].float().cpu().numpy(), sentence))
        return found


def build(config: Any, tokenizer: Any) -> Any:
    """The package's model of a configuration of transformers.

    Raises ModelUnavailableError for a backbone that the package does not have, or where the package does not import.
    """
    swin = config.backbone_config
    kind = (getattr(swin, "embed_dim", None), getattr(swin, "window_size", None))
    if kind not in _BACKBONES:
        raise ModelUnavailableError(
            f"the package {BACKEND} has the backbones {', '.join(_BACKBONES.values())}, and this checkpoint's is another "
            f"(width and window: {kind}): leave `backend` out"
        )
    models = import_package(f"{_MODULE}.models", BACKEND, INSTALL)
    settings = SimpleNamespace(**_settings(config, _BACKBONES[kind]))
    with _with_bert_of(config.text_config, tokenizer):
        return models.build_model(settings)


def _settings(config: Any, backbone: str) -> dict[str, Any]:
    """What the package wants to be told, of a configuration of transformers."""
    return {
        "modelname": "groundingdino", "backbone": backbone, "device": "cpu",
        "position_embedding": "sine",
        "pe_temperatureH": config.positional_embedding_temperature,
        "pe_temperatureW": config.positional_embedding_temperature,
        "return_interm_indices": [1, 2, 3], "backbone_freeze_keywords": None,
        "enc_layers": config.encoder_layers, "dec_layers": config.decoder_layers, "pre_norm": False,
        "dim_feedforward": config.encoder_ffn_dim, "hidden_dim": config.d_model, "dropout": 0.0,
        "nheads": config.encoder_attention_heads, "num_queries": config.num_queries, "query_dim": 4, "num_patterns": 0,
        "num_feature_levels": config.num_feature_levels, "enc_n_points": config.encoder_n_points,
        "dec_n_points": config.decoder_n_points,
        "two_stage_type": "standard", "two_stage_bbox_embed_share": config.two_stage_bbox_embed_share,
        "two_stage_class_embed_share": False, "transformer_activation": "relu",
        "dec_pred_bbox_embed_share": config.decoder_bbox_embed_share,
        "dn_box_noise_scale": 1.0, "dn_label_noise_ratio": 0.5, "dn_labelbook_size": 2000,
        "embed_init_tgt": config.embedding_init_target, "max_text_len": config.max_text_len,
        "text_encoder_type": "of the checkpoint",
        "use_text_enhancer": True, "use_fusion_layer": True, "use_checkpoint": False, "use_transformer_ckpt": False,
        "use_text_cross_attention": True, "text_dropout": 0.0, "fusion_dropout": 0.0, "fusion_droppath": 0.0,
        "sub_sentence_present": True,
    }  # fmt: skip


@contextmanager
def _with_bert_of(config: Any, tokenizer: Any) -> Iterator[None]:
    """The package asks a module of its own for tokenizer and text tower by a name; in here it gets the checkpoint's."""
    source = import_package(f"{_MODULE}.util.get_tokenlizer", BACKEND, INSTALL)
    with _BUILDING:
        own = source.get_tokenlizer, source.get_pretrained_language_model
        source.get_tokenlizer = lambda name: tokenizer
        source.get_pretrained_language_model = lambda name: _bert(config)
        try:
            yield
        finally:
            source.get_tokenlizer, source.get_pretrained_language_model = own


def _bert(config: Any) -> Any:
    """A text tower with what transformers 4 gave every model and the package takes from this one."""
    import torch
    from transformers import BertModel

    class Bert(BertModel):
        def get_extended_attention_mask(self, mask: Tensor, *_: Any) -> Tensor:
            """[n, 1, tokens, tokens], to be added, of the package's mask [n, tokens, tokens]: 1 where a token is seen."""
            return (1.0 - mask[:, None].float()) * torch.finfo(torch.float32).min

        def invert_attention_mask(self, mask: Tensor) -> Tensor:
            """Asked for by decoders alone, and this tower is none."""
            raise NotImplementedError("the text tower of Grounding DINO is an encoder")

        def get_head_mask(self, head_mask: None, layers: int) -> list[None]:
            """No head is ever masked."""
            return [head_mask] * layers

    return Bert(config)


def in_transformers(name: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """A weight by the package's name, of weights under the names of transformers; None where it is not among them.

    What the package has in one matrix (queries, keys and values) is three there.
    """
    import torch

    name = renamed(name)
    if head := _BOX_HEAD.fullmatch(name):
        return _of_box_head(int(head[1]), head[2], weights)
    if joint := _JOINT.search(name):
        parts = [weights.get(f"{name[: joint.start()]}{part}.{joint[2]}") for part in _PARTS]
        return None if None in parts else torch.cat([part for part in parts if part is not None])
    return weights.get(name)


def _of_box_head(layer: int, rest: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """Of a layer's head of boxes, which stands under one of two names, and once where all layers share it."""
    heads = {int(head[1]) for name in weights if (head := _BOX_HEAD.fullmatch(name))}
    of_layer = 0 if heads == {0} else layer
    names = (f"bbox_embed.{of_layer}.{rest}", f"model.decoder.bbox_embed.{of_layer}.{rest}")
    return next((weights[name] for name in names if name in weights), None)


def renamed(name: str) -> str:
    """The package's name of a weight -> the name that transformers has for it, queries, keys and values still together."""
    for pattern, (start, words) in _RENAMED.items():
        if found := re.match(pattern, name):
            rest = name[found.end() :]
            for word, other in words.items():
                if word in rest:
                    rest = rest.replace(word, other)
                    break
            return found.expand(start) + rest
    return name
