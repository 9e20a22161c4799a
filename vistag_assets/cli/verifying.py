"""Looking for faults: lost and doubled rows, damaged files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, plain_errors

if TYPE_CHECKING:
    from resources.home import Home
    from vistag_assets.automation.unfinished import Unfinished


def verify(
    home: HomeOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The findings as JSON, alone on standard output.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every page of every file, and decode every proxy.")
    ] = False,
) -> None:
    """Look for lost rows, doubled rows, damaged files and unfinished runs; ends with code 1 where something is wrong."""
    with plain_errors():
        from vistag_assets.automation.verify import verify_home

        base = home_of(home)
        if not base.lake.root.is_dir() and not base.folders():
            raise UsageError(f"There is no lake in {base.root}. Give the home that vistag writes to.")
        with console.err.status("Looking through the lake"):
            found = verify_home(base, deep=deep)
            left, unknown = _left(base)
        if as_json:
            findings = [asdict(finding) for finding in found.findings]
            counts = {"partitions": found.partitions, "rows": found.rows, "faults": len(found.faults)}
            console.say_json(
                {"home": str(base.root), "deep": deep, **counts, "findings": findings}
                | {"unfinished": [asdict(folders) for folders in left]}
            )
        else:
            for finding in found.findings:
                console.say(("" if finding.is_fault else "For information: ") + finding.sentence)
            if unknown:
                console.say(f"For information: {unknown}")
            for folders in left:
                console.say(folders.sentence)
            sound = "nothing is wrong, but not finished" if left else "nothing is wrong"
            faults = f"{len(found.faults):,} faults" if found.faults else sound
            console.say(f"{found.partitions:,} files of the lake were looked at: {faults}.")
        if found.faults:
            raise typer.Exit(1)


def _left(home: Home) -> tuple[list[Unfinished], str]:
    """What is not finished, or why that is not known."""
    from resources.home import SettingsError
    from resources.models.tiers import TierError
    from vistag_assets.automation.unfinished import unfinished

    try:
        return unfinished(home), ""
    except (SettingsError, TierError) as error:
        return (
            [],
            f"whether all runs are finished is not known, for the tier of the home cannot be read: {error}",
        )
