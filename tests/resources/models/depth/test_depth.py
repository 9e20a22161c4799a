"""Depth: the families against the transformers library itself, the stored maps, and the asset on a small lake."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from image_zoo import picture
from PIL import Image
from tiny_depth import save_tiny_depth_anything, save_tiny_zoedepth

from resources.home import FolderRef, Home, Settings, write_settings
from resources.metadata import ROW_COUNT
from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.depth import DepthEstimator, DepthSpec
from resources.models.depth.maps import StoredDepth, bounded, decode_depth, depth_picture, encode_depth
from resources.models.depth.pretrained import PretrainedDepth
from resources.models.tiers import TierError, load_tier
from resources.previews import preview_page
from resources.tables import DEPTH_MAPS
from resources.workspace import VistagResource, Workspace, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.partitions import FOLDERS
from vistag_assets.progress import Meter
from vistag_assets.whole_image import depth_maps as depth

# the first four are one shape to the models, and so a batch
SIZES = [(128, 96), (128, 96), (640, 480), (128, 96), (97, 61), (300, 31), (33, 501), (61, 97)]
KINDS = ["depth-anything", "depth-anything-metric", "zoedepth", "zoedepth-one-head"]
UNITS = dict(zip(KINDS, ["relative_inverse", "metres", "metres", "metres"], strict=True))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("depth")
    return {
        "depth-anything": save_tiny_depth_anything(folder / "relative"),
        "depth-anything-metric": save_tiny_depth_anything(
            folder / "metric", depth_estimation_type="metric", max_depth=20
        ),
        "zoedepth": save_tiny_zoedepth(
            folder / "zoe", seed=10
        ),  # its heads part over the first four pictures
        "zoedepth-one-head": save_tiny_zoedepth(folder / "nyu", heads=1),
    }


def estimator(kind: str, checkpoint: Path, **changes: object) -> DepthEstimator:
    family = "zoedepth" if kind.startswith("zoedepth") else "depth-anything"
    fields = {"family": family, "model": str(checkpoint), "batch_size": 3, "licence": "own"}
    return make_model(DepthSpec.model_validate(fields | changes), "cpu")


def pictures() -> list[Image.Image]:
    return [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]


@pytest.mark.parametrize("kind", KINDS)
def test_depth_equals_the_pipeline_one_image_at_a_time(kind: str, checkpoints: dict[str, Path]) -> None:
    pipeline = transformers.pipeline("depth-estimation", model=str(checkpoints[kind]))
    expected = [pipeline(image)["predicted_depth"].numpy() for image in pictures()]
    found = estimator(kind, checkpoints[kind]).estimate(pictures())
    for ours, reference, (width, height) in zip(found, expected, SIZES, strict=True):
        assert ours.depth.shape == (height, width)
        assert ours.unit == UNITS[kind]
        np.testing.assert_allclose(ours.depth, reference, atol=1e-5)
    # random weights, and yet the maps are not flat and differ from image to image
    assert all(reference.std() > 1e-3 for reference in expected)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_a_batch_of_zoedepth_would_vote(checkpoints: dict[str, Path]) -> None:
    """The library's own answer to an image depends on its batch-mates: why ours takes one at a time."""
    model = transformers.ZoeDepthForDepthEstimation.from_pretrained(checkpoints["zoedepth"])
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoints["zoedepth"])
    pixels = torch.cat([processor(image, return_tensors="pt")["pixel_values"] for image in pictures()[:4]])
    with torch.inference_mode():
        together = model(pixel_values=pixels)
        alone = model(pixel_values=pixels[:1]).predicted_depth
    assert together.domain_logits.argmax(dim=-1).tolist() == [1, 1, 0, 0]
    assert (together.predicted_depth[:1] - alone).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_any_picture_has_a_depth(kind: str, checkpoints: dict[str, Path]) -> None:
    sizes = [(1, 1), (3, 2), (640, 5), (1, 1024), (17, 23)]
    found = estimator(kind, checkpoints[kind]).estimate([Image.new("L", size, 77) for size in sizes])
    assert [one.depth.shape[::-1] for one in found] == sizes
    assert all(np.isfinite(one.depth).all() for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_depth_runs_at_sixteen_bits(kind: str, checkpoints: dict[str, Path]) -> None:
    full = estimator(kind, checkpoints[kind]).estimate(pictures()[:1])
    half = estimator(kind, checkpoints[kind], dtype="bfloat16").estimate(pictures()[:1])
    assert half[0].depth.dtype == np.float32
    np.testing.assert_allclose(half[0].depth, full[0].depth, atol=0.1 * np.abs(full[0].depth).max())


def test_an_estimator_loads_its_weights_when_they_are_needed(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    ours = estimator("depth-anything", checkpoints["depth-anything"], batch_size=7)
    assert isinstance(ours, PretrainedDepth)
    assert "_model" not in vars(ours)
    assert ours.fingerprint == estimator("depth-anything", checkpoints["depth-anything"]).fingerprint
    other = estimator("depth-anything", save_tiny_depth_anything(tmp_path, seed=1))
    assert ours.fingerprint != other.fingerprint
    with pytest.raises(ModelUnavailableError, match="holds no checkpoint"):
        estimator("zoedepth", tmp_path / "none")


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_a_map_survives_its_encoding(values: np.ndarray) -> None:
    stored = encode_depth(values)
    step = (stored.depth_max - stored.depth_min) / 65535
    np.testing.assert_allclose(decode_depth(stored), values, atol=0.51 * step + 1e-6 * np.abs(values).max())


def test_a_stored_map_is_a_png_that_others_read() -> None:
    stored = encode_depth(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], dtype=np.float32))
    assert (stored.depth_min, stored.depth_max) == (1.0, 5.0)
    assert depth_picture(stored, "metres").getpixel((0, 0)) == 255
    assert depth_picture(stored, "relative_inverse").getpixel((0, 0)) == 0
    np.testing.assert_array_equal(
        decode_depth(encode_depth(np.full((2, 3), 7, np.float32))), np.full((2, 3), 7)
    )
    with pytest.raises(ValueError, match="dtype: float32"):
        encode_depth(np.array([[np.nan]], dtype=np.float32))


def test_a_large_map_is_averaged_down() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    np.testing.assert_allclose(bounded(ramp, 4), [[0.5, 2.5, 4.5, 6.5]] * 2)
    assert bounded(ramp, 8) is ramp
    assert bounded(np.zeros((1, 1000), dtype=np.float32), 10).shape == (1, 10)


# ---- the stage and its asset


@pytest.fixture
def home(tmp_path: Path, checkpoints: dict[str, Path]) -> Home:
    home = Home(tmp_path / "home")
    model = {"family": "depth-anything", "model": str(checkpoints["depth-anything"]), "licence": "own"}
    use_tier(home, tmp_path, depth=model | {"max_side_px": 100})
    return home


def use_tier(home: Home, folder: Path, **roles: object) -> None:
    encoder = {"family": "siglip", "model": str(folder / "none"), "licence": "own"}
    tier = {"description": "measures", "device": "cpu", "encoder": encoder} | roles
    (folder / "measures.yaml").write_text(json.dumps(tier))  # JSON is YAML
    write_settings(home, Settings(tier=str(folder / "measures.yaml")))


def add(home: Home, library: Path, **sizes: tuple[int, int]) -> tuple[Workspace, FolderRef]:
    library.mkdir(exist_ok=True)
    for seed, (name, size) in enumerate(sizes.items()):
        picture(*size, seed=seed).save(library / f"{name}.png")
    folder = FolderRef("lib--a", "lib", str(library), ".")
    home.register(folder)
    workspace = open_workspace(home)
    ingest_files(workspace, folder, Meter("ingest"))
    return workspace, folder


def materialise(home: Home, folder: FolderRef) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [folder.key])
        return dg.materialize(
            [depth.depth_maps, depth.depth_maps_have_their_size],
            instance=instance,
            partition_key=folder.key,
            resources={"vistag": VistagResource(home=str(home.root))},
        )


def test_the_asset_runs_in_dagster_and_keeps_maps_that_come_back(tmp_path: Path, home: Home) -> None:
    workspace, folder = add(home, tmp_path / "library", wide=(240, 120), tall=(60, 90))
    result = materialise(home, folder)
    (made,) = result.asset_materializations_for_node("depth_maps")
    assert made.metadata[ROW_COUNT].value == 2
    assert made.metadata["computed"].value == 2
    assert made.metadata["device"].value == "cpu"
    assert preview_page(home, "depth_maps", folder.key).read_text().count("data:image/jpeg") == 4
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True]

    rows = workspace.lake.read("depth_maps", folder.key)
    assert rows.schema.names == DEPTH_MAPS.schema.names
    assert {(row["width"], row["height"]) for row in rows.to_pylist()} == {(100, 50), (60, 90)}
    path_of = dict(
        zip(*workspace.lake.read("proxies", folder.key, ["id", "path"]).to_pydict().values(), strict=True)
    )
    for row in rows.to_pylist():
        with Image.open(home.root / path_of[row["id"]]) as proxy:
            [expected] = workspace.depth.estimate([proxy])
        kept = decode_depth(StoredDepth(row["depth"], row["depth_min"], row["depth_max"]))
        assert row["unit"] == "relative_inverse"
        np.testing.assert_allclose(kept, bounded(expected.depth, 100), atol=1e-4)


def test_a_second_run_estimates_only_what_is_new(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, folder = add(home, tmp_path / "library", one=(90, 60), two=(60, 90))
    first = update_table("depth_maps", workspace, folder.key)
    assert first is not None
    assert first.computed == 2
    with monkeypatch.context() as patched:
        patched.setattr(PretrainedDepth, "estimate", lambda *_: pytest.fail("an image was seen again"))
        again = update_table("depth_maps", open_workspace(home), folder.key)
    assert again is not None
    assert (again.kept, again.computed) == (2, 0)
    workspace, folder = add(home, tmp_path / "library", one=(90, 60), two=(60, 90), three=(75, 75))
    third = update_table("depth_maps", workspace, folder.key)
    assert third is not None
    assert (third.kept, third.computed) == (2, 1)


def test_a_tier_without_depth_skips_the_asset_and_says_so(tmp_path: Path, home: Home) -> None:
    workspace, folder = add(home, tmp_path / "library", one=(90, 60))
    update_table("depth_maps", workspace, folder.key)
    use_tier(home, tmp_path)
    (made,) = materialise(home, folder).asset_materializations_for_node("depth_maps")
    assert made.metadata["skipped"].value.startswith("The tier measures names no depth")
    assert made.metadata[ROW_COUNT].value == 0
    assert not workspace.lake.exists("depth_maps", folder.key)


def test_weights_for_research_alone_are_refused_until_they_are_accepted(tmp_path: Path) -> None:
    encoder = {"family": "siglip", "model": "m", "licence": "own"}
    large = {"model": "depth-anything/Depth-Anything-V2-Large-hf"}
    tier = {"description": "d", "device": "cpu", "encoder": encoder, "depth": large}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(tier))
    with pytest.raises(TierError, match=r"depth: .*CC-BY-NC-4.0"):
        load_tier(str(path))
    path.write_text(json.dumps(tier | {"accept_licence": ["CC-BY-NC-4.0"]}))
    accepted = load_tier(str(path)).depth
    assert accepted is not None
    assert (accepted.family, accepted.batch_size) == ("depth-anything", 8)
