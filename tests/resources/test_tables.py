"""The tables of the lake: defined once, and what is told of them elsewhere follows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from resources.tables import GLOBAL_EMBEDDINGS, PER_FOLDER_TABLES, REGION_EMBEDDINGS, TABLES, Table
from resources.tables_page import as_markdown
from vistag_assets.cli import app
from vistag_assets.definitions import defs

ROOT = Path(__file__).parents[2]


def test_the_page_says_what_the_code_says() -> None:
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page == as_markdown(TABLES.values()), "run make docs"
    assert CliRunner().invoke(app, ["tables", "--markdown"]).output == page


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_table_is_whole(table: Table) -> None:
    names = table.schema.names
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert all(column.meaning for column in table.columns)
    assert all("id" in TABLES[parent].key for parent in table.parents)
    if table.partitioned:
        assert names[-1] == "fingerprint"


def test_every_table_has_an_asset_of_its_group_and_name() -> None:
    graph = defs.resolve_asset_graph()
    groups = {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert {name: groups.get(name) for name in TABLES} == {
        name: table.group for name, table in TABLES.items()
    }


def test_vectors_take_the_dimension_of_an_encoder() -> None:
    vector = pa.list_(pa.float16(), 224)
    assert GLOBAL_EMBEDDINGS.sized(224).field("embedding").type == vector
    assert REGION_EMBEDDINGS.sized(224).field("masked_embedding").type == vector
    assert REGION_EMBEDDINGS.sized(224).names == REGION_EMBEDDINGS.schema.names


def test_what_a_folder_has_comes_in_the_order_of_the_graph() -> None:
    for name in PER_FOLDER_TABLES:
        before = PER_FOLDER_TABLES[: PER_FOLDER_TABLES.index(name)]
        assert set(TABLES[name].parents) <= set(before), name
