"""What the documents name is there: pages, headings, files and modules of the repository, targets of the Makefile."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from vistag_assets.definitions import defs

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "demo/**/*.md") for path in ROOT.glob(pattern)
)
PACKAGES = ("taxonomy", "resources", "vistag_assets", "evaluation", "sensors", "demo", "benchmarks")
FOLDERS = (*PACKAGES, "deploy", "docs", "tests")
SUFFIXES = "py|md|ya?ml|csv|json|jinja|j2|css|js|txt|sh|service"
NAMED_FILE = re.compile(rf"(?<![\w/.:<*-])(?:{'|'.join(FOLDERS)})/[\w./-]*\.(?:{SUFFIXES})\b")
NAMED_MODULE = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.[a-z_]\w*)+)")
NAMED_TARGET = re.compile(r"(?:`|^)(?:\w+=\S+ )*make ([a-z][a-z-]*[a-z])\b(?!-)", re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def documents(paths: Iterable[Path] = DOCUMENTS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("document", paths, ids=lambda path: path.relative_to(ROOT).as_posix())


def anchors(document: Path) -> set[str]:
    """The names that links can lead to: of headings, as GitHub makes them, and of `<a id>`."""
    text = document.read_text(encoding="utf-8")
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    names = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return names | set(re.findall(r'<a id="([^"]+)"', text))


@documents()
def test_links_lead_to_pages_and_headings(document: Path) -> None:
    for path, heading in LINK.findall(document.read_text(encoding="utf-8")):
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), path
        assert target.exists(), path
        assert not heading or heading in anchors(target), f"{path}#{heading}"


@documents()
def test_files_and_modules_that_are_named_are_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [name for name in NAMED_FILE.findall(text) if not (ROOT / name).exists()] == []
    modules = {name: ROOT / name.replace(".", "/") for name in NAMED_MODULE.findall(text)}
    assert [name for name, path in modules.items() if not (path.is_dir() or is_in_module(path))] == []


def is_in_module(path: Path) -> bool:
    """Whether a dotted name, as a path, is a module or what a module defines."""
    if path.with_suffix(".py").exists():
        return True
    home = next(
        (file for file in (path.parent.with_suffix(".py"), path.parent / "__init__.py") if file.exists()),
        None,
    )
    return home is not None and re.search(rf"\b{path.name}\b", home.read_text(encoding="utf-8")) is not None


@documents()
def test_targets_that_are_named_can_be_made(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(NAMED_TARGET.findall(document.read_text(encoding="utf-8"))) <= targets


def test_the_drawn_graph_has_every_asset_and_is_the_same_wherever_it_stands() -> None:
    drawn = {
        re.search(r"^images ─.*?(?=^```)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
        for path in (ROOT / "README.md", ROOT / "docs" / "architecture.md")
    }
    (graph,) = drawn
    assets = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    left_out = {asset for asset in assets if asset.startswith(("ground_truth", "tag_"))} - {
        "tag_scores",
        "tag_recall",
    }
    left_out |= {"concept_embeddings", "frequency_bands", "evaluation_history"}
    left_out |= {asset for asset in assets if asset.startswith("export_")}  # drawn as one
    assert assets - set(re.findall(r"\w+", graph)) == left_out


def test_files_that_code_names_are_there() -> None:
    lost = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".yaml", ".j2"}
        for name in NAMED_FILE.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    }
    assert lost == set()
