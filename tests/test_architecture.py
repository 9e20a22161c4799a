"""The house: imports run one way, no rooms lean on each other in a circle, no folder is a drawer."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("taxonomy", "resources", "vistag_assets", "evaluation", "sensors", "demo", "benchmarks")

LAYERS = (
    "taxonomy",
    "resources",
    "vistag_assets",  # its rooms, and what they share
    "evaluation",
    "vistag_assets.imports",  # reads what evaluations read
    "sensors",
    "vistag_assets.definitions",
    "vistag_assets.runs",
    "vistag_assets.cli",
)
"""Each may import those before it. A module belongs to the one that names it most closely."""
IMPORTED_BY = {
    "demo": ("demo", "vistag_assets.cli", "benchmarks"),
    "demo.training": ("demo.training",),
    "benchmarks": ("benchmarks",),
    "tests": (),
}
"""What lies beside the layers -> who may import it."""

MOST_MODULES = 25

NAMED_FOR_THEIR_ASSET = ("vistag_assets", "evaluation")
"""Packages in which a module with one asset bears its name."""
ASSETS = {"asset", "folder_asset", "evaluation_asset", "multi_asset"}


def trees() -> dict[str, ast.Module]:
    """Module -> what it says; a package is its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = trees()


def imports() -> Iterator[tuple[str, str]]:
    """(module, module that it imports), wherever in it: for types and inside functions too."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}, line {node.lineno}: imports are absolute here"
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [name if name in MODULES else str(node.module) for name in whole]
            else:
                continue
            yield from ((module, name) for name in named if name.split(".")[0] in {*PACKAGES, "tests"})


def closest(module: str, names: Mapping[str, object] | tuple[str, ...]) -> str | None:
    """The longest of `names` that is the module or a package around it."""
    around = [name for name in names if f"{module}.".startswith(f"{name}.")]
    return max(around, key=len, default=None)


def test_imports_run_one_way() -> None:
    wrong = []
    for module, imported in imports():
        beside = closest(imported, IMPORTED_BY)
        if beside is not None:
            right = closest(module, IMPORTED_BY[beside]) is not None
        else:
            upper, lower = closest(module, LAYERS), closest(imported, LAYERS)
            right = upper is None or (
                lower is not None and LAYERS.index(lower) <= LAYERS.index(upper)
            )  # demo, benchmarks
        if not right:
            wrong.append(f"{module} imports {imported}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def rooms(depth: int) -> dict[str, set[str]]:
    """Room -> rooms that its modules import. A room is a folder or a module, `depth` names deep at most."""

    def room(module: str) -> str:
        deep = depth if module.startswith(("resources.", "vistag_assets.", "evaluation.", "demo.")) else 1
        return ".".join(module.split(".")[:deep])

    graph: dict[str, set[str]] = {}
    for module, imported in imports():
        graph.setdefault(room(imported), set())
        graph.setdefault(room(module), set()).update({room(imported)} - {room(module)})
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Rooms that reach each other, together."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reach = {room: reached(room) for room in graph}
    found = [{other for other in reach[room] if room in reach[other]} for room in graph]
    return [circle for place, circle in enumerate(found) if circle and circle not in found[:place]]


@pytest.mark.parametrize("depth", [2, 3])
def test_no_rooms_lean_on_each_other_in_a_circle(depth: int) -> None:
    assert circles(rooms(depth)) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_no_folder_holds_more_modules_than_one_can_see() -> None:
    paths = [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")]
    count = Counter(path.parent for path in paths if path.name != "__init__.py")
    assert {str(folder): number for folder, number in count.items() if number > MOST_MODULES} == {}


def assets_of(tree: ast.Module) -> list[str]:
    """The functions of a module that are decorated as assets."""
    return [
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        and any(
            (name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", None)) in ASSETS
            for decorator in function.decorator_list
            for name in [decorator.func if isinstance(decorator, ast.Call) else decorator]
        )
    ]


def test_a_module_with_one_asset_bears_its_name() -> None:
    found = {module: assets_of(tree) for module, tree in MODULES.items()}
    assert sum(map(len, found.values())) > 20
    misnamed = {
        module
        for module, assets in found.items()
        if closest(module, NAMED_FOR_THEIR_ASSET) and len(assets) == 1 and module.split(".")[-1] != assets[0]
    }
    assert misnamed == set()
