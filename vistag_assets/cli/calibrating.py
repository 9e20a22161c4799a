"""Probabilities fitted to people's own labelled pictures, and to how often a catalogue has each concept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.choosing import choose
from vistag_assets.cli.common import HomeOption, TierOption, UsageError, home_of, plain_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resources.workspace import Workspace

_MOST_IMAGES = 5000
"""That are looked at to see how often the models say each concept."""
_SHOWN = 20


def calibrate(
    folder: Annotated[
        Path | None, typer.Argument(help="Labelled pictures: a folder a class, named by its label.")
    ] = None,
    keywords: Annotated[
        bool,
        typer.Option(
            "--keywords", help="Their labels are the keywords in the files and sidecars, not the folders."
        ),
    ] = False,
    priors: Annotated[
        Path | None,
        typer.Option(
            help="A catalogue's own counts, a CSV of concept,count: how likely a concept is before a picture is seen."
        ),
    ] = None,
    prior_weight: Annotated[
        float,
        typer.Option(
            min=-2,
            max=2,
            help="How much of the log of the priors is added: 1 is Bayes' rule, less drowns less rare ones.",
        ),
    ] = 0.5,
    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="Divide the priors by how often the models say each concept of the home's pictures.",
        ),
    ] = False,
    no_priors: Annotated[bool, typer.Option("--no-priors", help="Take the priors back.")] = False,
    tier: TierOption = None,
    home: HomeOption = None,
) -> None:
    """Fit the probabilities of the home's tier to labelled pictures, to a catalogue's counts, or to both.

    The next run scores tags anew, without a model.
    """
    with plain_errors():
        from resources.workspace import open_workspace

        if folder is None and priors is None and not no_priors:
            raise UsageError("Give a folder of labelled pictures, or --priors FILE.")
        if no_priors and priors:
            raise UsageError("--priors and --no-priors: give one of them.")
        base = home_of(home)
        choose(base, tier)
        workspace = open_workspace(base)
        if folder:
            _fit(workspace, folder, keywords=keywords)
        if no_priors:
            from vistag_assets.whole_image.catalogue_priors import remove_home_priors

            console.say("The priors are off." if remove_home_priors(base) else "There were no priors.")
        if priors:
            _take_priors(workspace, priors, prior_weight, align=align)


def _fit(workspace: Workspace, folder: Path, *, keywords: bool) -> None:
    from vistag_assets.ingest.keywords import keywords_in_files
    from vistag_assets.whole_image.calibration import calibrate as fit
    from vistag_assets.whole_image.calibration import (
        labelled,
        labelled_by_keywords,
        tried,
        write_home_calibration,
    )
    from vistag_assets.whole_image.concept_embeddings import embed_concepts
    from vistag_assets.whole_image.home_adapter import read_home_adapter
    from vistag_assets.whole_image.scoring import pool_phrases
    from vistag_assets.whole_image.thresholds import wider_groups, write_home_thresholds

    if keywords:
        pictures = labelled_by_keywords(folder, keywords_in_files(folder, workspace.taxonomy))
    else:
        pictures = labelled(folder, workspace.taxonomy)
    embed_concepts(workspace)
    concepts = pool_phrases(workspace.lake.read("concept_embeddings"))
    adapter = read_home_adapter(workspace.home, workspace.encoder)
    seen = tried(workspace.encoder, concepts, pictures, workspace.taxonomy, adapter)
    if adapter:
        console.say(
            "Thresholds are for the scores of the home's adapter: give pictures that it was not fitted to."
        )
    floor = workspace.tier.tags.precision_floor
    fitted, thresholds = fit(
        workspace.encoder,
        workspace.encoder.calibration,
        seen,
        str(folder.resolve()),
        wider_groups(workspace.taxonomy),
        floor,
    )
    write_home_calibration(workspace.home, fitted)
    path = write_home_thresholds(workspace.home, thresholds)
    console.say(
        f"Fitted on {fitted.name}. On those that were held out the probability of the likeliest class was off by "
        f"{fitted.error_before:.3f}, and now by {fitted.error_after:.3f} (expected calibration error)."
    )
    if floor is not None:
        console.say(
            f"Thresholds for the most tags of which {floor:g} are right: on the held-out pictures {thresholds.precision:.3f} "
            f"are, and {thresholds.recall:.3f} of the true tags are kept."
        )
    console.say(
        f"F1 of the tags with 0.5 or more: {thresholds.f1_at_half:.3f}, with thresholds of their own: "
        f"{thresholds.f1:.3f}. They are in {path}: vistag export FORMAT --thresholds takes them."
    )


def _take_priors(workspace: Workspace, file: Path, weight: float, *, align: bool) -> None:
    from vistag_assets.whole_image.catalogue_priors import (
        HomePriors,
        distribution_alignment,
        logit_adjustment,
        read_counts,
        write_home_priors,
    )

    counts = read_counts(file, workspace.taxonomy)
    for line in counts.warnings[:_SHOWN]:
        console.say(line, to=console.err)
    if len(counts.warnings) > _SHOWN:
        console.say(f"and {len(counts.warnings) - _SHOWN:,} more", to=console.err)
    concept_ids = sorted(workspace.taxonomy.by_id)
    if align:
        concept_ids, said = _said(workspace)
        shifts = distribution_alignment(counts.by_concept, said, concept_ids, weight)
        way, encoder = "distribution alignment", workspace.encoder.fingerprint
    else:
        shifts = logit_adjustment(counts.by_concept, concept_ids, weight)
        way, encoder = "logit adjustment", ""
    kept = {concept_id: round(float(shift), 6) for concept_id, shift in zip(concept_ids, shifts, strict=True)}
    write_home_priors(workspace.home, HomePriors(way, weight, str(file.resolve()), kept, encoder))
    console.say(
        f"Priors of {len(counts.by_concept):,} of {len(concept_ids):,} concepts ({way}, weight {weight:g}): log odds move by "
        f"{shifts.min():+.2f} to {shifts.max():+.2f}. vistag run scores the tags anew; --no-priors takes it back."
    )


def _said(workspace: Workspace) -> tuple[list[str], NDArray[np.floating]]:
    """Concepts, and the mean probability of each over pictures of the home, without priors."""
    from vistag_assets.whole_image.scoring import make_scorer, mean_probabilities

    lake = workspace.lake
    if not lake.folders("global_embeddings"):
        raise UsageError(
            "--align looks at pictures of the home, and there are none yet: run vistag on a folder."
        )
    scorer = make_scorer(workspace, lake.read("concept_embeddings"))
    table = lake.read_all("global_embeddings", ["id", "embedding"], skip_damaged=True)
    step = max(1, table.num_rows // _MOST_IMAGES)
    return scorer.concept_ids, mean_probabilities(table.take(list(range(0, table.num_rows, step))), scorer)
