"""SAM 2 by its authors' package (`sam2`) on the same checkpoints: `backend: sam2`.

Their package reads its configuration through hydra, which wants an omegaconf and an antlr4 that others have left behind
(docs/decisions/0007-sam2-package.md). The model is made here of the checkpoint's config.json instead, so that neither
is needed. Pixels and the drawing of masks are those of the native port: what could differ is the network.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import Device, ModelUnavailableError, renamed, shared_model
from resources.models.package_weights import import_package, load_package_weights
from resources.models.segmenters.sam import Sam
from resources.models.segmenters.spec import SegmenterSpec

if TYPE_CHECKING:
    from torch import Tensor

BACKEND = "sam2"
INSTALL = "SAM2_BUILD_CUDA=0 pip install --no-deps --no-build-isolation sam2 iopath portalocker"
OF_VIDEO = re.compile("memory_|mask_downsample|obj_ptr|maskmem|no_obj|no_mem_pos")
_RENAMED = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"(mlps\.\d|_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d|_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(mlps\.\d|_head)\.layers\.2\.", r"\1.proj_out."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
)  # fmt: skip
"""Names of the package -> names of transformers, one after the other."""
_POINT = re.compile(r"sam_prompt_encoder\.point_embeddings\.(\d)\.weight")
_POINTS = "prompt_encoder.point_embed.weight"
_FIXED = {
    "mlp_dim": 2048,
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
    "iou_head_hidden_dim": 256,
    "iou_head_depth": 3,
}
"""Of the mask decoder, in the names of transformers: what the package's code says and no configuration changes."""
_MASK_CHANNELS = 16
"""Of the prompt encoder, likewise."""
_IMPORT = Lock()


class Sam2Package(Sam):
    """A SAM 2 checkpoint, as its authors' package runs it.

    Raises ModelUnavailableError where the package is missing, before any work, and at the first image where the checkpoint
    is none that the package can run.
    """

    def __init__(self, spec: SegmenterSpec, device: Device) -> None:
        if find_spec(BACKEND) is None:
            import_package(BACKEND, BACKEND, INSTALL)
        super().__init__(spec, device, backend=BACKEND)

    @cached_property
    def model(self) -> Any:
        def load() -> Any:
            from transformers import Sam2Config

            built = build(Sam2Config.from_pretrained(self.directory, local_files_only=True))
            load_package_weights(
                built, self.directory, in_transformers, lambda name: bool(OF_VIDEO.match(name))
            )
            return built.to(self.device).eval()

        return _AsInTransformers(shared_model(self.directory, BACKEND, self.spec.dtype, self.device, load))


class _AsInTransformers:
    """The package's model behind the two calls that are made of one of transformers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dtype = next(model.parameters()).dtype

    def get_image_embeddings(self, pixels: Tensor) -> list[Tensor]:
        """Of pixels [1, 3, side, side] the features that a box is asked of, finest first, [1, channels, height, width] each."""
        _, features, _, sizes = self._model._prepare_backbone_features(self._model.forward_image(pixels))
        features[-1] = features[-1] + self._model.no_mem_embed
        return [
            each.permute(1, 2, 0).reshape(1, -1, *size) for each, size in zip(features, sizes, strict=True)
        ]

    def __call__(self, *, image_embeddings: list[Tensor], input_boxes: Tensor, multimask_output: bool) -> Any:
        """Logits [1, boxes, 1, height, width] and scores [1, boxes, 1] of boxes [1, boxes, 4], corners in pixels of the square."""
        import torch

        prompts = self._model.sam_prompt_encoder
        corners = input_boxes[0].float().reshape(-1, 2, 2)
        # as the package's own predictor asks: a box is two points of their own kinds
        kinds = torch.tensor([[2, 3]], dtype=torch.int, device=corners.device).repeat(len(corners), 1)
        sparse, dense = prompts(points=(corners, kinds), boxes=None, masks=None)
        masks, scores, _, _ = self._model.sam_mask_decoder(
            image_embeddings=image_embeddings[-1],
            image_pe=prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
            repeat_image=len(corners) > 1,
            high_res_features=image_embeddings[:-1],
        )
        return SimpleNamespace(pred_masks=masks[None], iou_scores=scores[None])


@contextmanager
def without_hydra() -> Iterator[None]:
    """Modules of the package are imported in here without its `__init__`, which does nothing but to start hydra."""
    spec = find_spec(BACKEND)
    with _IMPORT:
        if BACKEND in sys.modules or spec is None:
            yield
            return
        bare = ModuleType(BACKEND)
        bare.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[BACKEND] = bare
        try:
            yield
        finally:
            del sys.modules[BACKEND]


def build(config: Any) -> Any:
    """The package's model of a configuration of transformers, without what it has for videos.

    Raises ModelUnavailableError for sizes that the package's code does not have, or where the package does not import.
    """
    vision = config.vision_config
    trunk = vision.backbone_config
    _require_its_sizes(config)
    with without_hydra():
        hiera = _import("sam2.modeling.backbones.hieradet").Hiera
        encoder = _import("sam2.modeling.backbones.image_encoder")
        sine = _import("sam2.modeling.position_encoding").PositionEmbeddingSine
        base = _import("sam2.modeling.sam2_base").SAM2Base
    neck = encoder.FpnNeck(
        position_encoding=sine(num_pos_feats=vision.fpn_hidden_size, normalize=True, scale=None, temperature=10000),
        d_model=vision.fpn_hidden_size,
        backbone_channel_list=list(vision.backbone_channel_list),
        fpn_top_down_levels=list(vision.fpn_top_down_levels),
        fpn_interp_model="nearest",
    )  # fmt: skip
    tower = hiera(
        embed_dim=trunk.embed_dim_per_stage[0],
        num_heads=trunk.num_attention_heads_per_stage[0],
        stages=tuple(trunk.blocks_per_stage),
        global_att_blocks=tuple(trunk.global_attention_blocks),
        window_pos_embed_bkg_spatial_size=tuple(trunk.window_positional_embedding_background_size),
        window_spec=tuple(trunk.window_size_per_stage),
    )
    decoder = config.mask_decoder_config
    return base(
        image_encoder=encoder.ImageEncoder(trunk=tower, neck=neck, scalp=1),
        memory_attention=None,
        memory_encoder=None,
        image_size=_side(config),
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        sam_mask_decoder_extra_args={
            name: getattr(decoder, name)
            for name in (
                "dynamic_multimask_via_stability", "dynamic_multimask_stability_delta", "dynamic_multimask_stability_thresh",
            )
        },
    )  # fmt: skip


def _import(name: str) -> Any:
    return import_package(name, BACKEND, INSTALL)


def _side(config: Any) -> int:
    size = config.prompt_encoder_config.image_size
    return int(size if isinstance(size, int) else size[0])


def _require_its_sizes(config: Any) -> None:
    trunk, decoder = config.vision_config.backbone_config, config.mask_decoder_config
    doubled = {
        name: [getattr(trunk, name)[0] * 2**stage for stage in range(len(trunk.blocks_per_stage))]
        for name in ("embed_dim_per_stage", "num_attention_heads_per_stage")
    }
    wrong = [name for name, value in _FIXED.items() if getattr(decoder, name) != value]
    wrong += [name for name, value in doubled.items() if list(getattr(trunk, name)) != value]
    if config.prompt_encoder_config.mask_input_channels != _MASK_CHANNELS:
        wrong.append("mask_input_channels")
    if wrong:
        raise ModelUnavailableError(
            f"the package sam2 has {', '.join(wrong)} in its code, and this checkpoint has others: leave `backend` out"
        )


def in_transformers(name: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """A weight by the package's name, of weights under the names of transformers; None where it is not among them."""
    if point := _POINT.fullmatch(name):
        points = weights.get(_POINTS)
        return None if points is None else points[int(point[1])][None]
    return weights.get(in_transformers_name(name))


def in_transformers_name(name: str) -> str:
    """The package's name of a weight -> the name that transformers has for it."""
    return renamed(name, _RENAMED)
