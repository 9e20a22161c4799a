"""CSV, as polars and Python read it."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from exporting import export
from hand_made_lake import make_home, tables, write

from vistag_assets.exports.records import Selection


def test_polars_reads_a_line_an_image_and_a_line_a_tag(tmp_path: Path) -> None:
    export(make_home(tmp_path / "home"), "csv", tmp_path / "out")
    images = pl.read_csv(tmp_path / "out/images.csv")
    assert images["file"].to_list() == ["a/1.jpg", "a/2.jpg", "a/3.jpg"]
    assert images["keywords"][0] == "bowl|vase|spotlight"
    assert images["uris"][0].split("|")[0] == "urn:x-vistag:concept/bowl"
    tags = pl.read_csv(tmp_path / "out/tags.csv")
    assert tags.select("label", "state", "regions", "hierarchy").rows() == [
        ("bowl", "human", 1, "container > vessel > bowl"),
        ("vase", "machine", 1, "container > vessel > vase"),
        ("spotlight", "machine", 0, "artificial light > spotlight"),
        ("vase", "machine", 0, "container > vessel > vase"),
    ]


def test_ancestors_are_named_where_they_are_asked_for(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    export(home, "csv", tmp_path / "out", selection=Selection(ancestors=True))
    images = pl.read_csv(tmp_path / "out/images.csv")
    assert set(images["keywords"][1].split("|")) == {"vase", "vessel", "container"}


@pytest.mark.parametrize(
    "words", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", 'a "quoted", 花\nline']
)
def test_no_cell_is_a_formula_unless_it_is_asked_for(tmp_path: Path, words: str) -> None:
    home = make_home(tmp_path / "home")
    write(home, "captions", [row | {"caption": words} for row in tables()["captions"]])

    def captions(name: str, **options: bool) -> set[str]:
        export(home, "csv", tmp_path / name, **options)
        with (tmp_path / name / "images.csv").open(encoding="utf-8-sig", newline="") as file:
            return {row["caption"] for row in csv.DictReader(file)}

    assert captions("plain") == {words if words.startswith("a") else f"'{words}"}
    assert captions("raw", formulas=True) == {words}
