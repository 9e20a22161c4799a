"""Looking at what is there: SQL over the lake, Dagster's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, plain_errors

if TYPE_CHECKING:
    from resources.home import Home

SHOWN_ROWS = 200
DECISIONS = "decisions"
"""The view of what people said."""
VOCABULARY = "vocabulary"
"""The view of the concepts, with what other catalogues call them."""

PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")]


def sql(
    query: Annotated[
        str,
        typer.Argument(
            help="DuckDB SQL; each table of the lake is a view, and tagged_images, decisions and vocabulary."
        ),
    ],
    home: HomeOption = None,
) -> None:
    """Ask the lake."""
    with plain_errors():
        import duckdb

        base = home_of(home)
        gone = [folder.key for folder in base.folders() if folder.gone_since]
        with base.lake.connect(gone=gone) as connection:
            if DECISIONS in query and DECISIONS not in base.lake.tables():
                connection.register(DECISIONS, base.decisions.as_table())
            if VOCABULARY in query:
                from resources.workspace import open_workspace

                connection.register(VOCABULARY, open_workspace(base).taxonomy_table)
            try:
                result = connection.execute(query)
            except duckdb.Error as error:
                tables = ", ".join(base.lake.tables()) or "none yet"
                raise UsageError(f"{error}\nTables of {base.root}: {tables}") from error
            columns = [column[0] for column in result.description or []]
            _show_rows(columns, result.fetchmany(SHOWN_ROWS + 1) if columns else [])


def tables(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/tables.md.")] = False,
) -> None:
    """List the tables of the lake and what their columns mean."""
    from resources import tables_page
    from resources.tables import TABLES

    if as_markdown:
        typer.echo(tables_page.as_markdown(TABLES.values()), nl=False)
        return
    for table in TABLES.values():
        console.say(f"{table.name}: {table.about}")
        for column in table.columns:
            console.say(f"  {column.name}: {column.meaning}")


def dev(home: HomeOption = None, port: PortOption = 3000) -> None:
    """Open Dagster's UI on the home, for this machine only; Ctrl-C stops it."""
    with plain_errors():
        from vistag_assets.automation.dev import serve

        base = home_of(home)
        _tell_missing_settings(base)
        serve(base.root, port, lambda url: console.say(f"Dagster on {base.root}: {url}  (Ctrl-C stops it)"))


def web(
    home: HomeOption = None,
    port: PortOption = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Dagster asks nobody for a password.")
    ] = "127.0.0.1",
) -> None:
    """Be the web server of vistag dev, alone: for a service manager."""
    with plain_errors():
        from vistag_assets.automation.dev import become_web

        base = home_of(home)
        _tell_missing_settings(base)
        become_web(base.root, host, port)


def daemon(home: HomeOption = None) -> None:
    """Be the daemon of vistag dev, alone: for a service manager. It runs the sensors and the queue."""
    with plain_errors():
        from vistag_assets.automation.dev import become_daemon

        base = home_of(home)
        _tell_missing_settings(base)
        become_daemon(base.root)


def _tell_missing_settings(home: Home) -> None:
    from vistag_assets.automation.instance import TEMPLATE, missing_settings

    if missing := missing_settings(home.root):
        console.say(
            f"{home.dagster_dir / 'dagster.yaml'} lacks settings that new homes have: {', '.join(missing)}. "
            f"Take them from {TEMPLATE}, or remove the file to have it written anew.",
            to=console.err,
        )


def _show_rows(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    from rich.table import Table

    table = Table(*columns)
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*("" if value is None else str(value) for value in row))
    console.out.print(table)
    if len(rows) > SHOWN_ROWS:
        console.err.print(f"The first {SHOWN_ROWS} rows; add a limit, or: copy (…) to 'file.csv'")
