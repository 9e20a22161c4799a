"""The page of the tables for people: `vistag tables`, and docs/tables.md, which is made from it."""

from __future__ import annotations

from collections.abc import Iterable

from resources.tables import ANY_SIZE, Table, type_name

_HEAD = """# The tables of the lake

Made from `resources/tables.py` by `make docs`. A table lies in `lake/<table>/folder=<key>/data.parquet`, one without
partitions in `lake/<table>/data.parquet`; `vistag sql "from tags limit 20"` reads them, and so does everything that
reads Parquet. One content may lie in two folders: join tables of a folder by `folder` and `id`.

"""


def as_markdown(tables: Iterable[Table]) -> str:
    """A heading a table, under it what it is, its key, where its ids come from, and a row a column."""
    return _HEAD + "\n".join(_section(table) for table in tables)


def _section(table: Table) -> str:
    facts = [f"Group `{table.group}`"]
    facts += [f"key {_names(table.key)}"] if table.key else []
    facts += [f"ids from {_names(table.parents)}"] if table.parents else []
    facts += [] if table.partitioned else ["no partition a folder"]
    lines = [
        f"## {table.name}",
        "",
        table.about,
        "",
        f"{'; '.join(facts)}.",
        "",
        "| column | type | meaning |",
    ]
    lines += ["|---|---|---|"]
    for column in table.columns:
        kind = type_name(column.type).replace(f"[{ANY_SIZE}]", "[dimension]")
        lines.append(
            f"| `{column.name}` | {kind.replace('<', '&lt;')} | {column.meaning.replace('<', '&lt;')} |"
        )
    return "\n".join([*lines, ""])


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
