"""Every query that the documents and the commands show, on a lake that holds one content in two folders."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made_lake import FOLDER, IDS, make_home, write

from resources.home import Home
from resources.tables import PER_FOLDER_TABLES, TABLES
from vistag_assets.cli.looking import ask

ROOT = Path(__file__).parents[2]
TWIN = "lib--b"
SHOWN = re.compile(r"""vistag sql (["'])(.+?)\1""", re.DOTALL)
IN_PYTHON = re.compile(r"""connect\(\)\.sql\("(.+?)"\)""")
QUERIES_KNOWN = 12


def texts() -> Iterator[tuple[str, str]]:
    """(file, text) of each document, and of each string of the code."""
    for pattern in ("*.md", "docs/**/*.md", "demo/**/*.md", "deploy/**/*.md"):
        for path in ROOT.glob(pattern):
            yield path.name, path.read_text(encoding="utf-8")
    for package in ("resources", "vistag_assets", "evaluation", "sensors"):
        for path in (ROOT / package).rglob("*.py"):
            strings = (
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
            )
            yield from ((path.name, node.value) for node in strings if isinstance(node.value, str))


QUERIES = sorted(
    {
        (file, " ".join(query.split()))
        for file, text in texts()
        for query in [*(found[1] for found in SHOWN.findall(text)), *IN_PYTHON.findall(text)]
        if "…" not in query
    }
)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home]:
    """A home with one folder, and one with the same pictures in two; what neither has is there without rows."""
    root = tmp_path_factory.mktemp("sql")
    alone, twice = (make_home(root / name) for name in ("alone", "twice"))
    for home in (alone, twice):
        write(home, "rejects", [{"path": "a/broken.jpg", "reason": "it ends early"}])
    twice.register(replace(twice.folder(FOLDER), key=TWIN, relative="b"))
    for table in twice.lake.tables():
        rows = twice.lake.read(table, FOLDER)
        if table in PER_FOLDER_TABLES:
            twice.lake.write(table, rows, TWIN)
    for home in (alone, twice):
        for name, table in TABLES.items():
            if name not in home.lake.tables():
                home.lake.write(
                    name, table.schema.empty_table(), FOLDER if name in PER_FOLDER_TABLES else None
                )
    return alone, twice


def rows(home: Home, query: str) -> list[tuple[object, ...]]:
    return ask(home, query)[1]


def test_there_are_queries() -> None:
    assert len(QUERIES) >= QUERIES_KNOWN


@pytest.mark.parametrize(("file", "query"), QUERIES, ids=[f"{file}: {query[:50]}" for file, query in QUERIES])
def test_a_query_that_is_shown_tells_nothing_twice(file: str, query: str, homes: tuple[Home, Home]) -> None:
    """A second folder of the same pictures adds as many rows as the first; a join by half of the key adds more."""
    unlimited = re.sub(r" limit \d+$", "", query)
    alone, twice = (rows(home, unlimited) for home in homes)
    assert len(alone) <= len(twice) <= 2 * len(alone)
    assert len(set(map(str, twice))) == len(twice) or "folder" not in query


def test_the_query_of_the_quickstart_names_each_tag_of_each_file_once(homes: tuple[Home, Home]) -> None:
    (query,) = [query for file, query in QUERIES if file == "quickstart.md"]
    alone, twice = (rows(home, query) for home in homes)
    tags = homes[0].lake.read("tags", FOLDER, ["rank"])["rank"].to_pylist()
    assert len(alone) == sum(rank <= 3 for rank in tags) > len(IDS)
    assert len(twice) == len(set(map(str, twice))) == 2 * len(alone)


def test_a_join_by_half_of_the_key_is_noticed(homes: tuple[Home, Home]) -> None:
    alone, twice = (rows(home, "select path, rank from tags join images using (id)") for home in homes)
    assert len(twice) == 4 * len(alone)


def test_the_view_of_tags_has_a_row_a_tag(homes: tuple[Home, Home]) -> None:
    for home in homes:
        assert rows(home, "select count(*) from tagged_images") == rows(home, "select count(*) from tags")
