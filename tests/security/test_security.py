"""The table of docs/security.md: what strangers' files, names and answers may not do."""

import ast
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import image_zoo as zoo
import pytest
from faulty_server import Asked, Reply, faulty_server
from hand_made_lake import make_home
from typer.testing import CliRunner

from resources.home import (
    CorruptRegistration,
    FolderRef,
    Home,
    SettingsError,
    UnknownFolder,
    folder_key,
    read_settings,
)
from resources.images import Limits, Reject, ingest_folder, open_proxy
from resources.images.scan import require_inside
from resources.lake.files import path_below
from resources.models.checkpoints import make_model, read_header
from resources.models.tiers import TierError, load_tier
from resources.models.vlms import VlmSpec
from resources.models.vlms.openai_client import API_KEY, ServerUnavailableError
from resources.models.vlms.server import serve_command
from taxonomy import TaxonomyError, load_taxonomy
from vistag_assets.cli import app
from vistag_assets.regions.regions_json import regions_json_path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "benchmarks",
    "demo",
    "deploy",
    "docs",
    "evaluation",
    "resources",
    "sensors",
    "taxonomy",
    "vistag_assets",
)
SECRET = "sk-vErY-sEcReT-123456"


# Paths stay in the library and in the home


def ingest_while(library: Path, home: Path, change: object) -> dict[str, str]:
    """The codes of what is rejected where `change` happens after the scan and before the first file is opened."""

    def on_progress(done: int, total: int) -> None:
        if done == 0:
            change()  # type: ignore[operator]

    result = ingest_folder(library / "a", library, home, Limits(), on_progress=on_progress)
    assert result.images.num_rows == 0
    return {row["path"]: row["code"] for row in result.rejects.to_pylist()}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """One picture in the folder `a`, and one of the same name outside the library."""
    for folder in ("library/a", "private"):
        zoo.write(tmp_path / folder, {"a.png": zoo.encoded(zoo.picture(), "PNG")})
    return tmp_path / "library"


def test_a_file_exchanged_for_a_link_after_the_scan_is_not_read(library: Path, tmp_path: Path) -> None:
    def exchange() -> None:
        (library / "a/a.png").unlink()
        (library / "a/a.png").symlink_to(tmp_path / "private/a.png")

    assert ingest_while(library, tmp_path / "home", exchange) == {"a/a.png": "unreadable"}


def test_a_folder_exchanged_for_a_link_after_the_scan_is_not_read(library: Path, tmp_path: Path) -> None:
    def exchange() -> None:
        (library / "a").rename(library / "b")
        (library / "a").symlink_to(tmp_path / "private")

    assert ingest_while(library, tmp_path / "home", exchange) == {"a/a.png": "link_leaves_library"}


def test_a_file_exchanged_for_a_pipe_after_the_scan_is_not_waited_for(library: Path, tmp_path: Path) -> None:
    def exchange() -> None:
        (library / "a/a.png").unlink()
        os.mkfifo(library / "a/a.png")

    assert ingest_while(library, tmp_path / "home", exchange) == {"a/a.png": "changed_while_reading"}


def test_a_folder_that_became_a_link_out_of_the_library_is_not_listed(library: Path, tmp_path: Path) -> None:
    (library / "a").rename(library / "b")
    (library / "a").symlink_to(tmp_path / "private")
    assert ingest_while(library, tmp_path / "home", lambda: None) == {"a": "link_leaves_library"}


def test_where_the_system_names_no_open_file_its_name_is_looked_up(library: Path, tmp_path: Path) -> None:
    require_inside(-1, library / "a/a.png", os.path.realpath(library))
    with pytest.raises(Reject, match="link_leaves_library"):
        require_inside(-1, tmp_path / "private/a.png", os.path.realpath(library))


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../../b.jpg", "a\0b", "a/.."])
def test_a_table_or_registration_of_others_names_nothing_outside(path: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for use in (path_below, open_proxy):
        with pytest.raises(ValueError, match="is no path below"):
            use(home.root, path)
    if "\0" not in path:
        with pytest.raises(ValueError, match="is not a path inside the library"):
            folder_key("library", path)


def test_the_id_of_a_row_of_others_names_no_file_outside(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no path below"):
        regions_json_path(tmp_path, "key", "../../a")


def test_windows_separators_are_letters_of_a_name(tmp_path: Path) -> None:
    assert path_below(tmp_path, "..\\..\\a.jpg").parent == tmp_path
    assert folder_key("library", "..\\..\\a").startswith("library--._._a-")


@pytest.mark.parametrize("changes", [{"relative": "../private"}, {"relative": "/etc"}, {"key": "other"}])
def test_an_edited_registration_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.register(FolderRef(folder_key("library", "a"), "library", str(tmp_path), "a"))
    (file,) = (home.root / "folders").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(CorruptRegistration, match=r"library--a\.json does not describe a folder"):
        home.folder("library--a")


@pytest.mark.parametrize("key", ["../folders/a", "..", ".hidden", "/etc/passwd", "a/b"])
def test_partition_keys_lead_nowhere(key: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(UnknownFolder):
        home.folder(key)
    with pytest.raises(ValueError, match="key of a partition"):
        home.lake.read("images", key)
    with pytest.raises(ValueError, match="table name"):
        home.lake.read("../images", "a")


# Parsers


def test_vocabularies_fetch_nothing(tmp_path: Path) -> None:
    """Contexts, imports and entities that name a server, which listens and is not asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        texts = {
            "a.jsonld": json.dumps({"@context": address, "@id": "x"}),
            "b.jsonld": json.dumps({"@context": [{"@import": address}], "@id": "x"}),
            "c.ttl": f"@prefix owl: <http://www.w3.org/2002/07/owl#> . <{address}> owl:imports <{address}> .",
            "d.ttl": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e SYSTEM "{address}">]><r>&e;</r>',
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(TaxonomyError, match=name):
                load_taxonomy(tmp_path / name)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_yaml_that_grows_without_bound_is_refused_in_a_short_message(tmp_path: Path) -> None:
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (tmp_path / "t.yaml").write_text(f"l0: &l0 [x]\n{layers}device: *l11\n")
    with pytest.raises(TierError, match="line 6: holds more than 20000 names") as caught:
        load_tier(str(tmp_path / "t.yaml"))
    assert len(str(caught.value)) < 5000


def test_a_header_of_weights_may_not_ask_for_all_memory(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with (
        (tmp_path / "model.safetensors").open("rb") as file,
        pytest.raises(ValueError, match="no safetensors file"),
    ):
        read_header(file)


# No pickles, no code of others


FORBIDDEN = {
    *(
        "pickle",
        "cPickle",
        "marshal",
        "shelve",
        "dill",
        "cloudpickle",
        "jsonpickle",
        "joblib",
        "xml",
        "lxml",
        "telnetlib",
    ),
    *(
        "eval",
        "exec",
        "extractall",
        "unpack_archive",
        "os.system",
        "os.popen",
        "yaml.unsafe_load",
        "yaml.full_load",
    ),
}
UNPICKLES = (
    "read_pickle",
    "torch.jit.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "np.lib.npyio.load",
)
"""Calls that unpickle, or run code that they fetch."""
_CONSE = "resources/models/encoders/conse/sentences.py"
ALLOWED = {
    ("evaluation/readers/xml_exports.py", "xml.etree"),  # of what taxonomy.safe_xml let through
    (_CONSE, "archive.extractall"),  # of a file whose SHA-256 is known
    # Of people's sidecars, of which those with a DOCTYPE are left as they are; the others only write.
    *(
        ("vistag_assets/exports/sidecar.py", f"xml.{name}")
        for name in ("dom", "dom.minidom", "parsers.expat")
    ),
    ("resources/images/metadata/xmp.py", "xml.parsers"),  # which refuses a DOCTYPE, and so every entity
    *((f"vistag_assets/exports/{name}.py", "xml.etree") for name in ("cvat", "label_studio", "voc")),
}


def findings(path: Path) -> Iterator[str]:
    """The names of what may not be in the packages, as far as a reader of the code can see it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            yield from (module for module in modules if module.split(".")[0] in FORBIDDEN)
            if isinstance(node, ast.ImportFrom):  # `load` by another name is not looked for by name
                yield from (
                    f"{node.module}.{alias.name}"
                    for alias in node.names
                    if (node.module, alias.name) in {("torch", "load"), ("numpy", "load"), ("yaml", "load")}
                )
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in FORBIDDEN or name.endswith((".extractall", ".unpack_archive")) or name == "yaml.load":
                yield name
            loads_by_name = name in ("import_module", "importlib.import_module", "__import__")
            if loads_by_name and node.args and isinstance(node.args[0], ast.Constant):
                yield from (word for word in [str(node.args[0].value).split(".")[0]] if word in FORBIDDEN)
            if name.endswith(UNPICKLES):
                yield name
            if name == "torch.load" and given.get("weights_only") != "True":
                yield name
            if name.endswith(("np.load", "numpy.load")) and (
                given.get("allow_pickle", "False") != "False" or len(node.args) > 2
            ):
                yield name
            if given.get("shell", "False") != "False" or given.get("trust_remote_code", "False") != "False":
                yield name


def test_the_packages_hold_no_way_to_run_what_a_file_says() -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in findings(path)
    }
    assert found == ALLOWED


def test_the_search_sees_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import pickle\nfrom xml.dom import minidom\neval('1')\ntorch.load(f)\nx.extractall()\n"
        "f(shell=True)\nnp.load(f, allow_pickle=True)\nA.from_pretrained(m, trust_remote_code=yes)\nmodel.eval()\n"
        "import joblib\nimport_module('dill')\npd.read_pickle(f)\nfrom torch import load\ntorch.jit.load(f)\n"
        "torch.load(f, weights_only=False)\nnumpy.load(f, None, True)\ntorch.load(f, weights_only=True)\n"
    )
    assert sorted(findings(tmp_path / "a.py")) == sorted(
        [
            *("pickle", "xml.dom", "eval", "torch.load", "x.extractall", "f", "np.load", "A.from_pretrained"),
            *("joblib", "dill", "pd.read_pickle", "torch.load", "torch.jit.load", "torch.load", "numpy.load"),
        ]
    )


# Secrets


def tier_file(folder: Path, vlm: dict[str, object]) -> Path:
    fields = {
        "description": "d",
        "device": "cpu",
        "encoder": {"model": "/m", "family": "siglip", "licence": "MIT"},
    }
    given = {"model": "some/model", "family": "chat", "licence": "MIT", "engine": "openai", **vlm}
    (folder / "t.yaml").write_text(json.dumps({**fields, "vlm": given}))
    return folder / "t.yaml"


@pytest.mark.parametrize(
    ("vlm", "sentence"),
    [
        ({"api_key": SECRET}, "vlm.api_key: secrets are read from the environment only"),
        ({"server": {"hf_token": SECRET}}, "vlm.server.hf_token: secrets are read from the environment only"),
        ({"server": {"base_url": f"http://me:{SECRET}@h/v1"}}, f"the environment only: set {API_KEY}"),
        ({"server": {"extra_args": ["--api-key", SECRET]}}, f"the environment only: set {API_KEY}"),
        ({"server": {"extra_args": [f"--api_k={SECRET}"]}}, f"the environment only: set {API_KEY}"),
    ],
)
def test_a_secret_in_a_tier_is_refused_and_not_repeated(
    vlm: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(TierError, match=r"t\.yaml") as caught:
        load_tier(str(tier_file(tmp_path, vlm)))
    assert sentence in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_a_secret_in_the_settings_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"api_key": SECRET}))
    with pytest.raises(SettingsError, match="api_key") as caught:
        read_settings(Home(tmp_path))
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_a_server_that_repeats_the_key_does_not_bring_it_into_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(API_KEY, SECRET)

    def behave(asked: Asked) -> Reply:
        return Reply(
            status=401, body={"error": {"message": f"no such key: {asked.headers['authorization']}"}}
        )

    with faulty_server(behave) as server:
        spec = VlmSpec.model_validate(
            {"model": "some/model", "licence": "MIT", "engine": "openai", "server": {"base_url": server.url}}
        )
        with pytest.raises(ServerUnavailableError, match=r"Bearer \*\*\*") as caught:
            make_model(spec, "cpu").load()
    error: BaseException | None = caught.value
    while error is not None:  # Dagster keeps the errors that led to one too
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


# What listens, and what is shown


@pytest.mark.parametrize("option", [["--host", "0.0.0.0"], ["--hos=0.0.0.0"], ["--trust-remote-code"]])
def test_a_tier_does_not_open_its_server_or_run_code(option: list[str], tmp_path: Path) -> None:
    with pytest.raises(TierError, match="is not passed on"):
        load_tier(str(tier_file(tmp_path, {"server": {"extra_args": option}})))


def test_a_served_model_is_told_to_stay_on_this_machine() -> None:
    spec = VlmSpec.model_validate({"model": "/m", "family": "chat", "licence": "MIT", "engine": "openai"})
    command = serve_command(spec, Path("vllm"))
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--trust-remote-code" not in command


@pytest.mark.parametrize(
    "statement",
    [
        "delete from images",
        "insert into images select * from images",
        "drop table images",
        "update images set id = ''",
    ],
)
def test_sql_changes_nothing_in_the_lake(statement: str, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    told = CliRunner().invoke(app, ["sql", statement, "--home", str(home.root)])
    assert told.exit_code == 1
    assert {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()} == before
