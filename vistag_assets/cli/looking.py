"""Looking at what is there: SQL over the lake, Dagster's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from resources.text import is_utf_8
from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, own_home, plain_errors

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
        _show_rows(*ask(home_of(home), query))


def ask(home: Home, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and the first rows, one more than are shown, of what a query finds. Raises UsageError."""
    import duckdb

    if not is_utf_8(query):
        raise UsageError(
            f"{query}: SQL is UTF-8; a name that is not stands in the tables as it is shown here."
        )
    with home.lake.connect(gone=home.gone_keys()) as connection:
        if DECISIONS in query and DECISIONS not in home.lake.tables():
            connection.register(DECISIONS, home.decisions.as_table())
        if VOCABULARY in query:
            from resources.workspace import open_workspace

            connection.register(VOCABULARY, open_workspace(home).taxonomy_table)
        try:
            result = connection.execute(query)
        except duckdb.Error as error:
            tables = ", ".join(home.lake.tables()) or "none yet"
            raise UsageError(f"{error}\nTables of {home.root}: {tables}") from error
        columns = [column[0] for column in result.description or []]
        return columns, result.fetchmany(SHOWN_ROWS + 1) if columns else []


def tables(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/tables.md.")] = False,
) -> None:
    """List the tables of the lake and what their columns mean."""
    from resources import tables_page
    from resources.tables import TABLES

    if as_markdown:
        console.put(tables_page.as_markdown(TABLES.values()))
        return
    for table in TABLES.values():
        console.say(f"{table.name}: {table.about}")
        for column in table.columns:
            console.say(f"  {column.name}: {column.meaning}")


HostOption = Annotated[
    str, typer.Option(help="Address to listen on; one that others reach needs $VISTAG_WEB_TOKEN.")
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(help="Name that it is reached by, such as a proxy's; needs $VISTAG_WEB_TOKEN."),
]


def app(
    home: HomeOption = None,
    port: PortOption = 8000,
    host: HostOption = "127.0.0.1",
    allow_host: AllowHostOption = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Load the models of the tier first; else with the first question.")
    ] = False,
) -> None:
    """Open the application: look at every picture and what stands behind its tags, review, ask by HTTP."""
    with plain_errors(), own_home(home) as base:
        from vistag_assets.app.server import serve

        def tell(url: str) -> None:
            console.say(f"vistag on {base.root}: {url}  (Ctrl-C stops it)")

        serve(base, host, port, allow_host or (), on_ready=tell, warm=warm)


def dev(home: HomeOption = None, port: PortOption = 3000) -> None:
    """Open Dagster's UI on the home, for this machine only; Ctrl-C stops it."""
    with plain_errors(), own_home(home) as base:
        from vistag_assets.automation.dev import serve

        _tell_missing_settings(base)
        serve(
            base.root,
            port,
            on_ready=lambda url: console.say(f"Dagster on {base.root}: {url}  (Ctrl-C stops it)"),
            on_line=lambda line: console.say(line, to=console.err),
        )


def web(
    home: HomeOption = None,
    port: PortOption = 3000,
    host: HostOption = "127.0.0.1",
    allow_host: AllowHostOption = None,
) -> None:
    """Be the web server of vistag dev, alone: for a service manager."""
    with plain_errors(), own_home(home) as base:
        from vistag_assets.automation.dev import become_web

        _tell_missing_settings(base)
        become_web(base.root, host, port, allow_host or ())


def daemon(home: HomeOption = None) -> None:
    """Be the daemon of vistag dev, alone: for a service manager. It runs the sensors and the queue."""
    with plain_errors(), own_home(home) as base:
        from vistag_assets.automation.dev import become_daemon

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
