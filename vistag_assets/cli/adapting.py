"""Scores fitted to what people accepted, and to tags that are known to be true."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, plain_errors

if TYPE_CHECKING:
    from resources.workspace import Workspace


def adapt(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of the home, by their path in the library; else all. Keep some to evaluate on."
        ),
    ] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(help="What is true of these pictures, in any format that vistag evaluate reads."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Go back to what the models alone say.")] = False,
    home: HomeOption = None,
) -> None:
    """Fit the scores of tags to accepted tags of these folders. The next run scores anew, without the encoder.

    Evaluations refuse the pictures that it was fitted to.
    """
    with plain_errors():
        from resources.workspace import open_workspace
        from vistag_assets.tags.adapting import fit_home_adapter
        from vistag_assets.whole_image.home_adapter import remove_home_adapter

        base = home_of(home)
        if off:
            console.say("The adapter is off." if remove_home_adapter(base) else "There was no adapter.")
            return
        workspace = open_workspace(base)
        keys = _keys(workspace, folders or ())
        known = _known(workspace, ground_truth) if ground_truth else ()
        adapter = fit_home_adapter(workspace, keys, known)
        console.say(
            f"Fitted to {adapter.name} of {len(keys)} folders. What serves was chosen by cross-validation:"
        )
        for examples, remedy in adapter.policy.items():
            console.say(f"  {examples}: {remedy}")
        console.say("vistag run scores the tags anew. --off takes it back.")


def _keys(workspace: Workspace, named: list[str] | tuple[str, ...]) -> list[str]:
    """Keys of the folders that are named by key or by their path in the library; of all where none is."""
    refs = [ref for ref in workspace.home.folders() if workspace.lake.exists("global_embeddings", ref.key)]
    unknown = [name for name in named if not any(name in (ref.key, ref.relative) for ref in refs)]
    if unknown or not refs:
        told = ", ".join(ref.relative for ref in refs[:8]) or "none yet"
        raise UsageError(
            f"No folder with embeddings is called {', '.join(unknown) or 'anything'}. There are: {told}"
        )
    return [ref.key for ref in refs if not named or {ref.key, ref.relative} & {*named}]


def _known(workspace: Workspace, file: Path) -> set[tuple[str, str]]:
    """(image id, concept id) of a ground truth; its pictures are found by their names."""
    from tempfile import TemporaryDirectory

    from evaluation.from_lake import image_names, match_ground_truth
    from evaluation.readers.converting import as_document, by_concepts
    from evaluation.readers.ground_truth import read_ground_truth

    document, remarks = as_document(file, untagged_are_verified=True)
    for line in remarks:
        console.say(line)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_bytes(document)
        named = by_concepts(read_ground_truth(copy), workspace.taxonomy)
    matched = match_ground_truth(named.truth, image_names(workspace.home, None))
    return set(zip(matched.truth["id"].to_pylist(), matched.truth["concept_id"].to_pylist(), strict=True))
