"""Probabilities fitted to people's own labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.choosing import choose
from vistag_assets.cli.common import HomeOption, TierOption, home_of, plain_errors


def calibrate(
    folder: Annotated[Path, typer.Argument(help="Labelled pictures: a folder a class, named by its label.")],
    keywords: Annotated[
        bool,
        typer.Option(
            "--keywords", help="Their labels are the keywords in the files and sidecars, not the folders."
        ),
    ] = False,
    tier: TierOption = None,
    home: HomeOption = None,
) -> None:
    """Fit the probabilities of the home's tier to labelled pictures. The next run scores tags anew, without a model."""
    with plain_errors():
        from resources.workspace import open_workspace
        from vistag_assets.ingest.keywords import keywords_in_files
        from vistag_assets.whole_image.calibration import calibrate as fit
        from vistag_assets.whole_image.calibration import (
            labelled,
            labelled_by_keywords,
            tried,
            write_home_calibration,
        )
        from vistag_assets.whole_image.concept_embeddings import embed_concepts
        from vistag_assets.whole_image.scoring import pool_phrases
        from vistag_assets.whole_image.thresholds import write_home_thresholds

        base = home_of(home)
        choose(base, tier)
        workspace = open_workspace(base)
        if keywords:
            pictures = labelled_by_keywords(folder, keywords_in_files(folder, workspace.taxonomy))
        else:
            pictures = labelled(folder, workspace.taxonomy)
        embed_concepts(workspace)
        concepts = pool_phrases(workspace.lake.read("concept_embeddings"))
        seen = tried(workspace.encoder, concepts, pictures, workspace.taxonomy)
        fitted, thresholds = fit(
            workspace.encoder, workspace.encoder.calibration, seen, str(folder.resolve())
        )
        write_home_calibration(base, fitted)
        path = write_home_thresholds(base, thresholds)
        console.say(
            f"Fitted on {fitted.name}. On those that were held out the probability of the likeliest class was off by "
            f"{fitted.error_before:.3f}, and now by {fitted.error_after:.3f} (expected calibration error)."
        )
        console.say(
            f"F1 of the tags with 0.5 or more: {thresholds.f1_at_half:.3f}, with thresholds of their own: "
            f"{thresholds.f1:.3f}. They are in {path}: vistag export FORMAT --thresholds takes them."
        )
