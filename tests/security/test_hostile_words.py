"""Names, labels, captions and answers of strangers, through every command, every page and Dagster's log of a run."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import dagster as dg
import hostile
import pyarrow as pa
import pytest
import typer
from hand_made_lake import make_home, tables, write
from image_zoo import encoded, picture
from services import free_port
from small_library import tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner, Result

from evaluation import verdict
from evaluation.metrics.comparison import TAG_CHANGES_SCHEMA, BandChange, Comparison
from evaluation.metrics.intervals import Interval
from resources.home import Home, read_settings, write_settings
from resources.markdown import as_words, plain_text
from resources.text import one_line, printable
from resources.workspace import VistagResource, open_workspace
from vistag_assets.automation import dev
from vistag_assets.automation.instance import home_instance
from vistag_assets.cli import app, console
from vistag_assets.gallery.pages import gallery_page, make_contact_sheet
from vistag_assets.ingest import ingest
from vistag_assets.progress import Meter

FREE_TEXT = frozenset(
    ["path", "also_at", "reason", "phrase", "caption", "text", "title", "description"],
).union(["concept_id", "keywords", "problems", "reasons", "flags", "aspect"])
RELATIVE = hostile.file_name(hostile.WORDS[0] + hostile.WORDS[4] + hostile.WORDS[7])
"""A folder's name."""
WORKS_LONG = ("app", "dev", "web", "daemon", "demo")
"""They take no words but the home's: four run until they are stopped, one draws 600 pictures."""


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the application, by its words."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
PARAMETERS = {path: {found.name: found for found in command.params} for path, command in COMMANDS.items()}


def say(*arguments: object) -> Result:
    """A command, which ends as it should and does nothing to a terminal."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2), result.exit_code
    for stream in (result.stdout_bytes, result.stderr_bytes):
        assert hostile.controls(stream.decode("utf-8")) == set(), arguments
    return result


def shows(text: str, words: str) -> bool:
    """Whether the lines of words are in a text, wherever it is broken into lines and cells."""

    def run_together(part: str) -> str:
        return "".join(part.replace("\u2502", " ").split())

    return all(run_together(line) in run_together(text) for line in printable(words).split("\n"))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "_width", 100_000)


def behind(value: object, words: str, field: str = "") -> Any:
    """Rows with the words behind every text that comes out of a picture, a model or a name."""
    if isinstance(value, dict):
        return {name: behind(inner, words, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [behind(inner, words, field) for inner in value]
    return f"{value} {words}" if isinstance(value, str) and field in FREE_TEXT else value


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Every table of the lake, the registry and the settings full of hostile words."""
    root = tmp_path_factory.mktemp("hostile")
    home = make_home(root / hostile.file_name(hostile.WORDS[3] + hostile.WORDS[0]))
    for table, rows in tables().items():
        if table != "proxies":
            said = (
                {"keywords": [hostile.ALL], "keyword_paths": [["x", hostile.ALL]]}
                if table == "images"
                else {}
            )
            write(home, table, behind([row | said for row in rows], hostile.ALL))
    (file,) = (home.root / "folders").glob("*.json")
    known = json.loads(file.read_text())
    file.write_text(json.dumps(known | {"relative": RELATIVE, "library": hostile.BYTES[1]}))
    (home.root / "library" / "there").mkdir(parents=True)  # the library is there, its folder is not
    watched = {words: f"/{words}" for words in hostile.WORDS}
    write_settings(home, read_settings(home).model_copy(update={"watched": watched}))
    return home


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_whatever_a_command_is_given_it_tells_in_printable_characters(
    command: tuple[str, ...], home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some write a file of that name
    for words in (hostile.ALL, *hostile.BYTES):
        say(*command, f"--{words}")
        if command[-1] not in WORKS_LONG:
            say(*command, *given(command, home, words))


def given(command: tuple[str, ...], home: Home, words: str) -> Iterator[str]:
    """The home, and the words as every option and argument that takes words."""
    yield from ("--home", str(home.root)) if "home" in PARAMETERS[command] else ()
    arguments = list[str]()
    for name, parameter in PARAMETERS[command].items():
        annotation = parameter.type_descriptor.annotation
        if parameter.opts[0].startswith("--"):
            takes_words = name != "home" and annotation in (str, Path)
            yield from (parameter.opts[0], words) if takes_words else ()
        else:
            is_text = annotation in (str, Path) or get_origin(annotation) is list
            arguments.append(words if is_text else next(iter(annotation)).value)
    yield from ("--", *arguments)


def test_the_application_tells_hostile_settings_in_printable_characters(tmp_path: Path) -> None:
    settings = tmp_path / hostile.file_name(hostile.ALL) / "settings.json"
    settings.parent.mkdir()
    settings.write_text("{" + hostile.WORDS[1])
    assert shows(say("app", "--home", settings.parent).stderr, str(settings))


@pytest.mark.parametrize("command", ["dev", "web", "daemon"])
def test_what_runs_until_it_is_stopped_tells_hostile_settings_in_printable_characters(
    command: str, tmp_path: Path
) -> None:
    settings = tmp_path / hostile.file_name(hostile.ALL) / "dagster" / "dagster.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("a: [" + hostile.WORDS[1])
    assert shows(say(command, "--home", settings.parents[1]).stderr, str(settings))


@pytest.mark.parametrize(
    "query", ["captions", "descriptions", "ocr_text", "tags", "rejects", "tagged_images"]
)
def test_sql_shows_hostile_words_whole(query: str, home: Home) -> None:
    assert shows(say("sql", f"from {query}", "--home", home.root).stdout, hostile.ALL)


def test_commands_about_a_home_show_hostile_words_whole(home: Home) -> None:
    def of_home(*arguments: object) -> str:
        result = say(*arguments, "--home", home.root)
        return result.stdout + result.stderr

    watched = of_home("watch")
    assert [words for words in hostile.WORDS if not shows(watched, one_line(words))] == []
    assert json.loads(of_home("verify", "--json"))["home"] == str(home.root)
    assert shows(of_home("verify"), f"{RELATIVE} is gone")
    of_home("forget")
    assert shows(of_home("keywords"), one_line(hostile.ALL))
    image = home.lake.read("images", "lib--a", ["id", "path"]).to_pylist()[0]
    assert shows(of_home("decide", image["id"], "bowl", "accept", "--by", hostile.ALL), image["path"])
    assert shows(of_home("sql", "from decisions"), hostile.ALL)
    of_home("decide", image["id"], "bowl", "reject", "--by", hostile.WORDS[0])
    assert shows(of_home("review", "agreement"), one_line(hostile.ALL))
    assert "0 pairs" in of_home("review", "queue", "--again"), "of a folder that is gone"
    tasks = home.root / "tasks.json"
    words = [*hostile.WORDS, *hostile.SURROGATES]
    choices = {"id": hostile.ALL, "value": {"choices": ["bowl", *words]}}
    answer = {"completed_by": {"email": hostile.SURROGATES[0] + hostile.ALL}, "result": [choices]}
    names = [f"lib/{RELATIVE}/{word}" for word in words]
    data = [{"image": name} for name in names]
    data.append({"image": "x.jpg", "vistag_id": image["id"]})
    tasks.write_text(json.dumps([{"data": each, "annotations": [answer]} for each in data]))
    told = of_home("import", tasks)
    assert shows(told, f"No such label: {one_line(words[0])}")
    assert shows(told, f"No such picture: {one_line(names[0])}")


@pytest.mark.parametrize("words", hostile.WORDS, ids=lambda words: ascii(words)[:20])
def test_files_that_cannot_be_read_are_told_of_in_printable_characters(words: str, tmp_path: Path) -> None:
    folder = tmp_path / hostile.file_name(words)
    folder.mkdir()
    vocabulary, facets, tier = (folder / name for name in ("v.csv", "f.yaml", "t.yaml"))
    quoted = words.replace('"', '""')
    vocabulary.write_text(
        f'id,pref_label,alt_labels,facet,broader,definition\nx,"{quoted}",,"{quoted}","{quoted}","{quoted}"\n'
    )
    facets.write_text(json.dumps({words: {words: words}}))
    tier.write_text(json.dumps({"description": "d", "device": words, words: 1, "encoder": {words: words}}))
    assert shows(
        say("taxonomy", "check", vocabulary, "--strict").output,
        words[:1000].split("|")[0].split("\t")[0].strip(),
    )
    say("taxonomy", "check", vocabulary, "--all")
    say("taxonomy", "check", vocabulary, "--facets", facets)
    for command in ("facets", "diff"):
        say("taxonomy", command, vocabulary, *([vocabulary] if command == "diff" else []))
    say("taxonomy", "stats", vocabulary)
    say("run", folder, "--tier", tier, "--home", tmp_path / "home")
    say("doctor", "--tier", tier, "--home", tmp_path / "home")
    turtle = folder / "v.ttl"
    turtle.write_text(f"# {words}\n<http://x/{words}> a <{words}> .")
    say("taxonomy", "check", turtle)


@pytest.mark.parametrize(
    "words", [hostile.ALL, hostile.WORDS[-1], *hostile.SURROGATES], ids=lambda words: ascii(words)[:20]
)
def test_evaluations_of_hostile_files_are_told_in_printable_characters(words: str, tmp_path: Path) -> None:
    truth, predictions = tmp_path / "truth.json", tmp_path / "predictions.json"
    box = {"bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12}
    truth.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": words, "width": 64, "height": 48}],
                "categories": [{"id": 3, "name": words}, {"id": 4, "name": f"{words} 2"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 3, **box}],
            }
        )
    )
    predictions.write_text(
        json.dumps([{"image_id": 1, "category_id": 3, "bbox": [1.0, 2, 3, 4], "score": 0.5}])
    )
    files = ("--ground-truth", truth, "--predictions", predictions)
    say("evaluate", *files)
    told = say("evaluate", *files, "--json")
    if told.exit_code == 0:
        json.loads(told.stdout)
    for name in ("truth.csv", "predictions.csv"):
        row = json.dumps(words, ensure_ascii=False).replace('\\"', '""')
        (tmp_path / name).write_text(f"image,tag\n{row},{row}\n", errors="surrogatepass")
    say("evaluate", "--ground-truth", tmp_path / "truth.csv", "--predictions", tmp_path / "predictions.csv")


def test_pages_of_hostile_words_load_and_run_nothing(home: Home) -> None:
    make_contact_sheet(open_workspace(home), Meter("Contact sheet"))
    page = gallery_page(home).read_text(encoding="utf-8")
    assert hostile.elements(page).count("script") <= 1
    assert "&lt;script&gt;alert" in page


def test_what_programs_of_vistag_dev_write_is_printable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Their logs quote names and errors; here a program that says hostile words and ends stands for both."""
    words = hostile.ALL + os.fsdecode(b"\xff") + "\x1b[32mgreen\x1b[0m"
    program = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({os.fsencode(words)!r})"]
    monkeypatch.setattr(dev, "_web_command", lambda host, port: program)
    monkeypatch.setattr(dev, "_daemon_command", lambda: program)
    told = say("dev", "--home", tmp_path, "--port", free_port())
    assert told.exit_code == 1
    assert "ended with code 0; its messages are above" in told.stderr
    seen = told.output + capfd.readouterr().err
    assert hostile.controls(seen) == set()
    assert shows(seen, hostile.ALL.replace("\x1b[31m", ""))


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    """A home of `vistag run` on a library of hostile names, with a hostile vocabulary, and what was printed."""
    root = tmp_path_factory.mktemp("tagged")
    home = tiny_home(root, save_tiny_siglip(root / "tiny"))
    library = root / hostile.file_name(hostile.BYTES[1] + hostile.WORDS[0])
    names = [hostile.file_name(words) for words in (*hostile.BYTES, *hostile.WORDS)]
    for number, name in enumerate(names):
        for folder in (library, library / names[number % 3]):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(encoded(picture(seed=number), "PNG"))
            (folder / f"{name}.jpg").write_text("no picture")
    labels = [words.replace("|", " ").replace("\n", " ").replace("\t", " ") for words in hostile.WORDS[:-1]]
    labels = ["".join(c if c.isprintable() else "?" for c in label).strip() for label in labels]
    rows = [f'c{number},"{label}",,object,,"{label}"' for number, label in enumerate(labels)]
    (root / "vocabulary.csv").write_text(
        "\n".join(["id,pref_label,alt_labels,facet,broader,definition", *rows])
    )
    truth = {
        "images": [{"id": 1, "file_name": f"{names[3]}.png"}, {"id": 2, "file_name": f"{names[4]}.png"}],
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels)],
        "annotations": [],
        "image_tags": [{"image_id": i, "category_id": n} for i in (1, 2) for n in range(len(labels))],
    }
    (root / "truth.json").write_text(json.dumps(truth))
    told = say("run", library, "--home", home.root, "--ground-truth", root / "truth.json")
    return home, told.stdout + told.stderr


@pytest.mark.slow
def test_a_run_on_hostile_names_ends_and_shows_them(tagged: tuple[Home, str]) -> None:
    home, told = tagged
    assert "Traceback" not in told
    assert shows(told, "bowl [\u2215] blue")
    for table, files in (("images", "png"), ("rejects", "jpg")):
        shown = say("sql", f"select path from {table}", "--home", home.root).stdout
        for words in hostile.WORDS:
            assert shows(shown, f"{hostile.file_name(words)}.{files}"), words
    say("report", "--home", home.root)
    json.loads(say("report", "--json", "--home", home.root).stdout)
    say("forget", "--home", home.root)
    assert "nothing is wrong" in say("verify", "--home", home.root).stdout


@pytest.mark.slow
def test_the_pages_of_a_run_on_hostile_names_load_and_run_nothing(tagged: tuple[Home, str]) -> None:
    home, _ = tagged
    pages = [*gallery_page(home).parent.glob("*.html"), *home.reports_dir.glob("*.html")]
    pages += home.reports_dir.glob("previews/*/*.html")
    assert len(pages) >= 10, "the previews of the tables among them"
    for page in pages:
        hostile.elements(page.read_text(encoding="utf-8"))
    for page in home.reports_dir.glob("*.md"):
        hostile.harmless_markdown(page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_all_that_dagster_keeps_of_a_run_on_hostile_names_loads_nothing(tagged: tuple[Home, str]) -> None:
    """Every event of every run: messages, descriptions of checks, and metadata, whatever asset they are of."""
    home, _ = tagged
    seen = Counter[str]()
    with home_instance(home.root) as instance:
        events = [event for run in instance.get_runs() for event in instance.all_logs(run.run_id)]
    for event in events:
        assert hostile.controls(event.user_message) == set(), event.user_message
        found = event.dagster_event
        if found is None:
            continue
        if found.is_step_materialization:
            metadata = found.step_materialization_data.materialization.metadata
        elif found.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            metadata = found.asset_check_evaluation_data.metadata
            hostile.harmless_markdown(str(found.asset_check_evaluation_data.description))
        else:
            continue
        for value in metadata.values():
            seen[type(value).__name__] += 1
            assert hostile.controls(str(value.value)) == set(), value
            if isinstance(value, dg.MarkdownMetadataValue):
                hostile.harmless_markdown(str(value.value))
    assert seen["MarkdownMetadataValue"] >= 1


@pytest.mark.slow
def test_a_check_that_names_hostile_files_loads_nothing(tagged: tuple[Home, str], tmp_path: Path) -> None:
    home, _ = tagged
    library = Path(home.folders()[0].root)
    late = [library / f"{hostile.file_name(words)} late.png" for words in hostile.WORDS[:9]]
    for number, file in enumerate(late):
        file.write_bytes(encoded(picture(seed=100 + number), "PNG"))
    result = ingest.images_and_rejects_cover_the_folder(VistagResource(home=str(home.root)))
    for file in late:
        file.unlink()
    assert isinstance(result, dg.AssetCheckResult)
    assert "9 of" in str(result.description)
    assert hostile.controls(str(result.description)) == set()
    hostile.harmless_markdown(str(result.description))


@pytest.mark.parametrize("words", hostile.WORDS, ids=lambda words: ascii(words)[:20])
def test_words_in_markdown_stay_words_and_can_be_had_back(words: str) -> None:
    markdown = plain_text(words)
    hostile.harmless_markdown(markdown)
    hostile.harmless_markdown(f"| a |\n|---|\n| {markdown} |")
    assert as_words(markdown) == printable(" ".join(words.split()))


def test_the_check_that_names_lost_tags_names_them_as_words() -> None:
    rows = [
        {"concept_id": words, "band": "tail", "images": 3, "before": 3, "after": 0, "lost": 3, "gained": 0}
        for words in hostile.WORDS[:-1]
    ]
    lost = Comparison(
        10,
        3,
        (BandChange("tail", 1.0, 0.0, 30, True, Interval(-1.0, -0.9)),),
        pa.Table.from_pylist(rows, schema=TAG_CHANGES_SCHEMA),
    )
    markdown = verdict.sentence(lost, 0.0, {}, plain_text)
    hostile.harmless_markdown(markdown)
    assert hostile.controls(markdown) == set()
    told = as_words(markdown)
    for words in hostile.WORDS[:-1]:
        assert printable(" ".join(words.split())) in told
    with pytest.raises(AssertionError):
        hostile.harmless_markdown(verdict.sentence(lost, 0.0, {}))
