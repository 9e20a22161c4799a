"""`vistag evaluate --html`: the page of two files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from annotation_files import lvis, results, write
from PIL import Image
from typer.testing import CliRunner

from vistag_assets.cli import app


def page_of(tmp_path: Path, truth: Path, found: Path, *options: str) -> str:
    page = tmp_path / "out" / "page.html"
    page.parent.mkdir()
    arguments = [
        "evaluate",
        "--ground-truth",
        str(truth),
        "--predictions",
        str(found),
        "--html",
        str(page),
        *options,
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(page.with_suffix(".json").read_text())["tag_recall"]
    assert page.with_suffix(".md").read_text().startswith("**")
    return page.read_text(encoding="utf-8")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The 31 rare tags stand on one image each: on even ones 13 common tags stand before them, so 10 are found."""
    truth, found = ["image,tag"], ["image,tag,score"]
    for n in range(44):
        carriers = range(60 - 2 * n) if n < 13 else range(n, n + 1)
        for i in carriers:
            truth.append(f"p{i}.png,t{n:02}")
            if (n < 33 and i % 2 == 0) or (n < 33 and n >= 13):
                found.append(f"p{i}.png,t{n:02},0.9")
    found += [f"p{n}.png,t00x,0.9" for n in range(33, 44)]
    truth.append("p59.png,t00x")
    Image.new("RGB", (8, 6), "red").save(tmp_path / "p40.png")
    return write(tmp_path / "truth.csv", "\n".join(truth)), write(tmp_path / "found.csv", "\n".join(found))


def test_lost_tags_come_with_their_files_pictures_and_what_stood_instead(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    page = page_of(tmp_path, *files)
    row = next(row for row in re.findall(r"<tr>.*?</tr>", page, re.S) if ">t40<" in row)
    assert "<small>p40.png</small>" in row
    assert 'src="data:image/jpeg;base64,' in row
    assert "t00x" in row
    other = next(row for row in re.findall(r"<tr>.*?</tr>", page, re.S) if ">t41<" in row)
    assert "<small>p41.png</small>" in other
    assert "data:image" not in other
    assert "truth.csv is read as csv" in page


def test_no_point_of_the_scatter_leaves_the_chart_and_spots_have_counts(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    page = page_of(tmp_path, *files)
    [charts] = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)
    data = json.loads(charts)["scatter"]["data"]
    heights = [y for series in data for y in series["y"]]
    assert min(heights) >= 0
    assert max(heights) <= 1
    counts = [int(text) for series in data for text in series["text"] if text]
    assert {10, 21} <= set(counts)
    assert len({(x, y) for series in data for x, y in zip(series["x"], series["y"], strict=True)}) == len(
        heights
    )
    tail = next(series for series in data if series["name"] == "tail")
    assert "and 9 more" in tail["hovertext"][int(np.argmax(tail["marker"]["size"]))]


def test_the_note_of_the_bands_tells_the_edges_that_were_used(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    assert "By the edges of LVIS (rare: up to 10 images" in page_of(tmp_path, *files)
    other = tmp_path / "lvis"
    other.mkdir()
    given = page_of(other, write(other / "t.json", lvis()), write(other / "p.json", results()))
    assert "The bands of LVIS are those that the ground truth gives its tags" in given
    assert "up to 10 images" not in given
