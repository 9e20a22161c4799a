"""MobileSAM (Zhang et al., Faster Segment Anything, 2023): a TinyViT under the prompt encoder and mask decoder of SAM.

Published as a pickle, which `vistag convert` turns into safetensors once. TinyViT is timm's, the rest transformers'; sizes are
read off the weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import (
    Device,
    Layout,
    ModelUnavailableError,
    read_weights,
    refuse_missing,
    renamed,
    shared_model,
)
from resources.models.onnx_files import FOLDER_VARIABLE, model_path
from resources.models.segmenters.sam import Sam
from resources.models.segmenters.spec import SegmenterSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "mobile_sam.safetensors"
FILES = Layout(WEIGHTS, (WEIGHTS,))
SIDE_PX, PATCH_PX = 1024, 16
DECODER_HEADS = 8
"""Of SAM's mask decoder; no shape of a weight tells it."""
_ENCODER = "image_encoder."
_RENAMED = (
    (r"patch_embed\.seq\.0\.", "patch_embed.conv1."),
    (r"patch_embed\.seq\.2\.", "patch_embed.conv2."),
    (r"layers\.(\d+)\.downsample\.", lambda found: f"stages.{int(found[1]) + 1}.downsample."),
    (r"layers\.(\d+)\.", lambda found: f"stages.{found[1]}."),
    (r"\.c\.weight", ".conv.weight"),
)
"""Of TinyViT: as its authors name it -> timm, whose stages begin with the merging that theirs end with."""
_OF_SAM = (
    (r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix", "prompt_encoder.shared_embedding.positional_embedding"),
    (r"point_embeddings\.", "point_embed."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
)  # fmt: skip
"""Of the rest: as SAM's authors name it -> transformers."""


class MobileSam(Sam):
    """A folder with `mobile_sam.safetensors`: `model` is its path, or its name in $VISTAG_MODELS.

    Raises ModelUnavailableError where there is none, and at the first image where it lacks weights.
    """

    def __init__(self, spec: SegmenterSpec, device: Device) -> None:
        path = model_path(spec.model)
        if not (path / WEIGHTS).is_file():
            raise ModelUnavailableError(
                f"{path} holds no {WEIGHTS}. Fetch mobile_sam.pt of MobileSAM's repository, turn it once into safetensors "
                f"there (vistag convert mobile_sam.pt), and give the folder as `model`, or its name and the folder that "
                f"holds it in the environment variable {FOLDER_VARIABLE} (docs/segmenters.md)"
            )
        super().__init__(spec.model_copy(update={"model": str(path.resolve())}), device, FILES)

    @cached_property
    def processor(self) -> Any:
        """SAM's: the longer side becomes 1,024, what is missing of the square is black."""
        from transformers import SamImageProcessor, SamProcessor

        return SamProcessor(SamImageProcessor())

    @cached_property
    def model(self) -> Any:
        import torch

        def load() -> Any:
            weights = read_weights(self.directory)
            try:
                built, missing = build(weights)
            except KeyError as error:
                raise ModelUnavailableError(
                    f"{self.directory / WEIGHTS} holds no weights of MobileSAM ({error} is missing): convert mobile_sam.pt"
                ) from error
            refuse_missing(self.directory, missing)
            return built.to(self.device, getattr(torch, self.spec.dtype)).eval()

        return shared_model(self.directory, "MobileSam", self.spec.dtype, self.device, load)


def build(weights: Mapping[str, Tensor]) -> tuple[Any, list[str]]:
    """The model of weights under the names of their checkpoint, and the names of those that are missing in it.

    Raises KeyError where even the sizes cannot be told.
    """
    from transformers import SamConfig, SamModel

    hidden = weights[f"{_ENCODER}neck.0.weight"].shape[0]
    first = "mask_decoder.transformer.layers.0"
    config = SamConfig(
        # of a tower that is replaced; what the model asks of it are the sizes of images
        vision_config={
            "image_size": SIDE_PX, "patch_size": PATCH_PX, "output_channels": hidden, "num_pos_feats": hidden // 2,
            "num_hidden_layers": 0, "global_attn_indexes": [], "hidden_size": 8, "num_attention_heads": 1,
        },
        prompt_encoder_config={
            "hidden_size": hidden, "image_size": SIDE_PX, "patch_size": PATCH_PX,
            "mask_input_channels": weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        },
        mask_decoder_config={
            "hidden_size": hidden, "num_attention_heads": DECODER_HEADS, "mlp_dim": weights[f"{first}.mlp.lin1.weight"].shape[0],
            "iou_head_hidden_dim": weights["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
            "layer_norm_eps": 1e-5,  # as its authors have it; SAM's port has another
        },
    )  # fmt: skip
    model: Any = SamModel(config)
    model.vision_encoder = _tower(weights, hidden)
    named = dict(_named(weights))
    named["shared_image_embedding.positional_embedding"] = named[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    missing, _ = model.load_state_dict(named, strict=False)
    return model, sorted(missing)


def _named(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Under the names that they have here."""
    for name, value in weights.items():
        own = name.startswith(_ENCODER)
        if own and name.removeprefix(_ENCODER).startswith("neck."):
            yield f"vision_encoder.{name.removeprefix(_ENCODER)}", value
            continue
        here = renamed(name.removeprefix(_ENCODER), _RENAMED if own else _OF_SAM)
        yield (f"vision_encoder.tower.{here}" if own else here), value


def _tower(weights: Mapping[str, Tensor], hidden: int) -> nn.Module:
    """TinyViT, whose last merging keeps the resolution, and the neck of SAM's image encoder."""
    from timm.layers.norm import LayerNorm2d
    from timm.models.tiny_vit import TinyVit
    from torch import nn

    blocks = re.compile(rf"{re.escape(_ENCODER)}layers\.(\d+)\.blocks\.(\d+)\.\w+")
    found = {(int(m[1]), int(m[2])) for name in weights if (m := blocks.match(name))}
    depths = tuple(sum(stage == each for stage, _ in found) for each in range(len({s for s, _ in found})))
    biases = [
        weights[f"{_ENCODER}layers.{stage}.blocks.0.attn.attention_biases"] for stage in range(1, len(depths))
    ]
    widths = [
        weights[f"{_ENCODER}patch_embed.seq.2.c.weight"],
        *(weights[f"{_ENCODER}layers.{stage}.downsample.conv3.c.weight"] for stage in range(len(depths) - 1)),
    ]

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            tower: Any = TinyVit(
                num_classes=0, embed_dims=tuple(width.shape[0] for width in widths), depths=depths,
                num_heads=(1, *(bias.shape[0] for bias in biases)), drop_path_rate=0.0,
                # a bias an offset, of which a window of w has w * w
                window_sizes=(7, *(round(bias.shape[1] ** 0.5) for bias in biases)),
            )  # fmt: skip
            tower.head = nn.Identity()
            tower.stages[-1].downsample.conv2.conv.stride = (1, 1)
            self.tower = tower
            self.neck = nn.Sequential(
                nn.Conv2d(widths[-1].shape[0], hidden, 1, bias=False),
                LayerNorm2d(hidden, eps=1e-6),
                nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
                LayerNorm2d(hidden, eps=1e-6),
            )

        def forward(self, pixel_values: Tensor, **_: object) -> tuple[Tensor]:
            """[n, hidden, 64, 64] of [n, 3, 1024, 1024]."""
            return (self.neck(self.tower.forward_features(pixel_values)),)

    return Encoder()
