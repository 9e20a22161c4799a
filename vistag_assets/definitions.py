"""The code location: everything Dagster shows. Loading it imports no torch."""

import dagster as dg

from evaluation import assets as evaluation_assets
from resources.workspace import VistagResource
from sensors.new_folders import new_folders, new_folders_on_stores
from sensors.schedules import nightly_folders, weekly_verify
from sensors.stale_evaluation import stale_evaluation
from vistag_assets.automation.verify_job import verify
from vistag_assets.gallery import contact_sheet
from vistag_assets.ingest import ingest
from vistag_assets.language import language
from vistag_assets.language import routing as lanes
from vistag_assets.partitions import EVALUATE, TAG_FOLDERS
from vistag_assets.regions import details as region_details
from vistag_assets.regions import grounded_regions as regions
from vistag_assets.tags import tags as fused_tags
from vistag_assets.whole_image import depth_maps as depth
from vistag_assets.whole_image import ocr_text as reading
from vistag_assets.whole_image import tagging

GATHER_EVIDENCE = "gather_evidence"

_GRAPH = [
    ingest,
    tagging,
    reading,
    depth,
    lanes,
    regions,
    region_details,
    language,
    fused_tags,
    contact_sheet,
]
_tags = dg.AssetSelection.assets("tags")
_evaluation = dg.AssetSelection.groups("evaluation")

defs = dg.Definitions(
    assets=[*dg.load_assets_from_modules(_GRAPH), *dg.load_assets_from_package_module(evaluation_assets)],
    asset_checks=[
        *dg.load_asset_checks_from_modules(_GRAPH),
        *dg.load_asset_checks_from_package_module(evaluation_assets),
    ],
    jobs=[
        dg.define_asset_job(
            TAG_FOLDERS,
            selection=dg.AssetSelection.all() - _evaluation,
            description="Images to scored tags, for the folders that are chosen.",
        ),
        dg.define_asset_job(
            EVALUATE,
            selection=_evaluation,
            description="Ground truth against the tags in the lake, to the long-tail report.",
        ),
        dg.define_asset_job(
            GATHER_EVIDENCE,
            selection=(_tags.upstream().materializable() - _tags).required_multi_asset_neighbors(),
            description="Images to all that the tags are fused from, for the folders that are chosen.",
        ),
        dg.define_asset_job(
            "everything",
            selection=dg.AssetSelection.all(),
            description="Images to the long-tail report, for the folders that are chosen.",
        ),
        verify,
    ],
    sensors=[new_folders, new_folders_on_stores, stale_evaluation],
    schedules=[nightly_folders, weekly_verify],
    resources={"vistag": VistagResource()},
    # one process for all steps of a run: each would load the models again
    executor=dg.in_process_executor,
)
