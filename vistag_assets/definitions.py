"""The code location: everything Dagster shows. Loading it imports no torch."""

import dagster as dg

from evaluation import assets as evaluation
from resources.workspace import VistagResource
from sensors.new_decisions import new_decisions
from sensors.new_folders import new_folders, new_folders_on_stores
from sensors.schedules import nightly_folders, weekly_verify
from sensors.stale_evaluation import stale_evaluation
from sensors.stale_exports import stale_exports
from vistag_assets import gallery, ingest, language, regions, review, search, tags, whole_image
from vistag_assets.automation.adapt_job import adapt
from vistag_assets.automation.verify_job import verify
from vistag_assets.exports.assets import EXPORT_ASSETS, GROUP
from vistag_assets.partitions import EVALUATE, EXPORT, TAG_FOLDERS

GATHER_EVIDENCE = "gather_evidence"
_ROOMS = (ingest, whole_image, regions, language, tags, search, review, gallery, evaluation)
"""Each holds the assets of the group that bears its name, and their checks."""

_tags = dg.AssetSelection.assets("tags")
_evaluation = dg.AssetSelection.groups("evaluation")
_exports = dg.AssetSelection.groups(GROUP)

defs = dg.Definitions(
    assets=[
        *(asset for room in _ROOMS for asset in dg.load_assets_from_package_module(room)),
        *EXPORT_ASSETS,
    ],
    asset_checks=[check for room in _ROOMS for check in dg.load_asset_checks_from_package_module(room)],
    jobs=[
        dg.define_asset_job(
            TAG_FOLDERS,
            selection=dg.AssetSelection.all() - _evaluation - _exports,
            description="Images to scored tags, for the folders that are chosen.",
        ),
        dg.define_asset_job(
            EVALUATE,
            selection=_evaluation,
            description="Ground truth against the tags in the lake, to the long-tail report.",
        ),
        dg.define_asset_job(
            EXPORT,
            selection=_exports,
            description="What the lake knows as files of other programs, of the formats that are chosen.",
        ),
        dg.define_asset_job(
            GATHER_EVIDENCE,
            selection=(_tags.upstream().materializable() - _tags).required_multi_asset_neighbors(),
            description="Images to all that the tags are fused from, for the folders that are chosen.",
        ),
        dg.define_asset_job(
            "everything",
            selection=dg.AssetSelection.all() - _exports,
            description="Images to the long-tail report, for the folders that are chosen.",
        ),
        adapt,
        verify,
    ],
    sensors=[new_folders, new_folders_on_stores, new_decisions, stale_evaluation, stale_exports],
    schedules=[nightly_folders, weekly_verify],
    # Dagster's own would be one that keeps pickles, in a folder that the configuration of a run names
    resources={"vistag": VistagResource(), "io_manager": dg.mem_io_manager},
    # one process for all steps of a run: each would load the models again
    executor=dg.in_process_executor,
)
