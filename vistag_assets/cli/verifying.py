"""Looking for faults: lost and doubled rows, damaged files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, plain_errors


def verify(
    home: HomeOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The findings as JSON, alone on standard output.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every page of every file, and decode every proxy.")
    ] = False,
) -> None:
    """Look for lost rows, doubled rows and damaged files; ends with code 1 where something is wrong."""
    with plain_errors():
        from vistag_assets.automation.verify import verify_home

        base = home_of(home)
        if not base.lake.root.is_dir():
            raise UsageError(f"There is no lake in {base.root}. Give the home that vistag writes to.")
        with console.err.status("Looking through the lake"):
            found = verify_home(base, deep=deep)
        if as_json:
            findings = [asdict(finding) for finding in found.findings]
            counts = {"partitions": found.partitions, "rows": found.rows, "faults": len(found.faults)}
            console.say_json({"home": str(base.root), "deep": deep, **counts, "findings": findings})
        else:
            for finding in found.findings:
                console.say(("" if finding.is_fault else "For information: ") + finding.sentence)
            told = f"{found.partitions:,} files of the lake were looked at: "
            faults = len(found.faults)
            console.say(told + (f"{faults:,} faults." if faults else "nothing is wrong."))
        if found.faults:
            raise typer.Exit(1)
