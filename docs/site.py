"""What the site shows beside docs/*.md, as a hook of mkdocs (mkdocs.yml).

README.md and its kind are pages too, each package has a page made of its docstrings, and files of the repository that
a page links to are shown as they are.
"""

from __future__ import annotations

import ast
import os.path
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FRONT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PACKAGES = ("taxonomy", "resources", "vistag_assets", "evaluation", "sensors", "demo", "benchmarks")
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")
FETCHED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
SOURCE = "---\nsearch: {{exclude: true}}\n---\n# {name}\n\n````{language}\n{text}\n````\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """In the nav an entry that ends in `/` stands for the pages below it, the index first."""
    decisions = [
        f"decisions/{file.name}" for file in sorted((ROOT / "docs" / "decisions").glob("*.md"), reverse=True)
    ]
    below = {"decisions/": decisions, "api/": list(dict(_api_pages()))}
    for section in config.nav or []:
        for pages in section.values():
            for entry in pages if isinstance(pages, list) else []:
                if isinstance(entry, dict):
                    entry.update({title: below.get(uri, uri) for title, uri in entry.items()})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that are not in docs/."""
    pages = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in FRONT.items()} | dict(
        _api_pages()
    )
    for name in sorted(_linked_sources()):
        language = Path(name).suffix.lstrip(".") or "text"
        text = (ROOT / name).read_text(encoding="utf-8")
        pages[_uri(ROOT / name)] = SOURCE.format(name=name, language=language, text=text)
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of the repository as links of the site."""
    origin = _origin(page.file.src_uri)

    def on_site(link: re.Match[str]) -> str:
        target = (origin.parent / link[2]).resolve()
        if not target.is_file():
            return link[0]  # for mkdocs to complain of
        return link[1] + os.path.relpath(_uri(target), Path(page.file.src_uri).parent)

    return LINK.sub(on_site, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Raises PluginError for a page that would fetch something from another machine."""
    if fetched := FETCHED.search(re.sub(r"<link rel=\"?canonical[^>]*>", "", output)):
        raise PluginError(f"{page.file.src_uri}: fetches {fetched[0]}")
    return output


def _origin(src_uri: str) -> Path:
    """The file of the repository that a page shows."""
    front = {page: name for name, page in FRONT.items()}
    return ROOT / front[src_uri] if src_uri in front else ROOT / "docs" / src_uri


def _uri(path: Path) -> str:
    """Where the site has a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return FRONT.get(name) or f"source/{name}.md"


def _linked_sources() -> set[str]:
    """Files outside docs/ that a page links to, and that are no pages themselves."""
    documents = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in FRONT)]
    linked = {
        (document.parent / path).resolve()
        for document in documents
        for _, path in LINK.findall(document.read_text(encoding="utf-8"))
    }
    return {
        path.relative_to(ROOT).as_posix()
        for path in linked
        if path.is_file() and _uri(path).startswith("source/")
    }


def _api_pages() -> list[tuple[str, str]]:
    """A page that lists the packages, and one for each, of the docstrings of its modules: where, and what."""
    packages = [file.parent for name in PACKAGES for file in sorted((ROOT / name).rglob("__init__.py"))]
    index, pages = (
        "# API\n\nEach package with its modules, from their docstrings.\n\n| package | |\n|---|---|\n",
        [],
    )
    for package in packages:
        dotted = package.relative_to(ROOT).as_posix().replace("/", ".")
        says = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
        index += f"| [`{dotted}`]({dotted}.md) | {says.partition(chr(10))[0]} |\n"
        modules = sorted(
            file.stem for file in package.glob("*.py") if file.stem not in ("__init__", "__main__")
        )
        blocks = [f"# {dotted}", says, *(f"::: {dotted}.{module}" for module in modules)]
        pages.append((f"api/{dotted}.md", "\n\n".join(blocks)))
    return [("api/index.md", index), *pages]
