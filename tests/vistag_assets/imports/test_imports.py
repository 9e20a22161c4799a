"""Decisions of Label Studio, CVAT and COCO files on their way into the log: what is exported comes back as people left it."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from exporting import export
from hand_made_lake import FOLDER, HOSTILE, IDS, make_home, tables, write
from typer.testing import CliRunner, Result

from evaluation.readers.tables import UnusableFile
from resources.decisions import Event
from resources.home import FolderRef, Home
from resources.workspace import open_workspace
from vistag_assets.cli import app
from vistag_assets.imports.answers import Answer, Mark, Said, decisions_of
from vistag_assets.imports.into_log import import_answers
from vistag_assets.imports.programs import read_answers

BOWL, VASE = f"{IDS[0][:12]}-r1", f"{IDS[0][:12]}-r2"
BOX, MOVED = (0.1, 0.2, 0.2, 0.2), (0.1, 0.2, 0.3, 0.2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def mark(label: str, box: Any = None, id_: str | None = None, untouched: bool = False) -> Mark:
    return Mark(label, box, id_, untouched)


@pytest.mark.parametrize(
    ("marks", "shown", "reviewed", "expected"),
    [
        ([mark("bowl")], None, False, [Said("accept", "bowl")]),
        ([mark("bowl", BOX)], None, False, [Said("redraw", "bowl", box=BOX)]),
        ([mark("bowl", untouched=True)], None, False, []),
        ([mark("bowl", untouched=True)], None, True, [Said("accept", "bowl")]),
        ([mark("bowl")], [mark("bowl")], False, []),
        ([mark("bowl", BOX, "r")], [mark("bowl", BOX, "r")], True, [Said("accept", "bowl", region_id="r")]),
        (
            [mark("bowl", MOVED, "r")],
            [mark("bowl", BOX, "r")],
            False,
            [Said("redraw", "bowl", region_id="r", box=MOVED)],
        ),
        # a program rounds to pixels: nobody has moved anything
        ([mark("bowl", (0.1001, 0.2, 0.2, 0.2))], [mark("bowl", BOX, "r")], False, []),
        (
            [mark("vase", BOX)],
            [mark("bowl", BOX, "r")],
            False,
            [Said("correct", "bowl", corrected_to="vase", region_id="r")],
        ),
        (
            [mark("vase", MOVED, "r")],
            [mark("bowl", BOX, "r")],
            False,
            [Said("correct", "bowl", "vase", "r"), Said("redraw", "vase", region_id="r", box=MOVED)],
        ),
        # of two bowls one is gone, or is a vase: there is a bowl still
        ([mark("bowl", BOX, "r")], [mark("bowl", BOX, "r"), mark("bowl", MOVED, "s")], False, []),
        (
            [mark("bowl", BOX, "r"), mark("vase", MOVED, "s")],
            [mark("bowl", BOX, "r"), mark("bowl", MOVED, "s")],
            False,
            [Said("redraw", "vase", region_id="s", box=MOVED)],
        ),
        ([], [mark("bowl"), mark("bowl", BOX, "r")], False, [Said("reject", "bowl")]),
        ([], [], True, []),
    ],
)
def test_what_an_answer_comes_to(
    marks: list[Mark], shown: list[Mark] | None, reviewed: bool, expected: list[Said]
) -> None:
    answer = Answer("1.jpg", tuple(marks), shown=None if shown is None else tuple(shown))
    assert decisions_of(answer, reviewed=reviewed) == expected


def vistag(home: Home, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments), "--home", str(home.root)])


def imported(home: Home) -> list[Event]:
    """Without what the rows of the hand-made home say, which is taken into the log with the first decision."""
    return [event for event in home.decisions.since() if event.who != "unknown"]


def told(home: Home) -> list[tuple[str, str | None, str, str | None]]:
    return [(event.verdict, event.concept_id, event.image_id[0], event.who) for event in imported(home)]


def submitted(task: dict[str, Any], who: Any, time: str, change: Callable[[list[Any]], Any]) -> None:
    """As Label Studio exports a task whose prediction somebody opened, changed and submitted."""
    result = copy.deepcopy(task["predictions"][0]["result"])
    for number, of in enumerate(result):
        of["origin"] = "prediction"
        of["value"] = dict(of["value"])
        assert number < 9
    change(result)
    task.setdefault("annotations", []).append(
        {
            "id": 9,
            "completed_by": who,
            "result": result,
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": time,
            "updated_at": time,
            "lead_time": 12.5,
            "prediction": {},
            "result_count": len(result),
        }
    )


def from_label_studio(home: Home, folder: Path) -> Path:
    """What was exported, as two people answered it: a box moved, a label changed, a tag taken away, one picture skipped."""
    export(home, "label-studio", folder)
    file = folder / "tasks.json"
    tasks = json.loads(file.read_text())

    def first(result: list[Any]) -> None:
        result[0]["value"]["width"] = 30.0
        result[1]["value"]["rectanglelabels"] = ["sword"]
        result[2]["value"]["choices"] = ["bowl", "sword"]

    submitted(tasks[0], {"id": 3, "email": "ada@example.org"}, "2026-11-01T10:00:00.000000Z", first)
    submitted(tasks[1], 7, "2026-11-01T11:00:00Z", lambda result: result.clear())
    tasks[1]["annotations"][0]["result"] = [
        {
            "id": "new",
            "type": "choices",
            "from_name": "tag",
            "to_name": "image",
            "origin": "prediction-changed",
            "value": {"choices": ["bowl", "no such thing", "bowls with handles"]},
        }
    ]
    submitted(tasks[2], 7, "2026-11-01T12:00:00Z", lambda result: None)
    tasks[2]["annotations"][0]["was_cancelled"] = True
    changed = folder.parent / "project-1-at-2026-11-01.json"
    changed.write_text(json.dumps(tasks))
    return changed


def test_what_people_did_in_label_studio_is_in_the_log_and_in_the_tags(home: Home, tmp_path: Path) -> None:
    file = from_label_studio(home, tmp_path / "out")
    told_ = vistag(home, file)
    assert told_.exit_code == 0, told_.output
    ada, seven = "ada@example.org", "Label Studio user 7"
    assert told(home) == [
        ("redraw", "bowl", "a", ada),
        ("correct", "vase", "a", ada),
        ("accept", "sword", "a", ada),
        ("reject", "spotlight", "a", ada),
        ("accept", "bowl", "b", seven),
        ("accept", None, "b", seven),
        ("accept", None, "b", seven),
        ("reject", "vase", "b", seven),
    ]
    words = ["no such thing", "bowls with handles"]
    assert [event.phrase for event in imported(home)][5:7] == words, "kept, to be learned"
    drawn, corrected = imported(home)[:2]
    assert (drawn.region_id, drawn.box) == (BOWL, (0.1, 0.2, 0.3, 0.2))
    assert (corrected.region_id, corrected.corrected_to) == (VASE, "sword")
    assert drawn.time.isoformat() == "2026-11-01T10:00:00+00:00"
    assert drawn.shown == "0" * 16
    assert "No such label: no such thing" in told_.output
    assert "No such label: bowls with handles" in told_.output
    assert "vistag taxonomy learn" in told_.output


@pytest.mark.parametrize("kind", ["label-studio", "cvat", "coco"])
def test_a_file_that_comes_again_adds_nothing(home: Home, tmp_path: Path, kind: str) -> None:
    file = {
        "label-studio": lambda: from_label_studio(home, tmp_path / "out"),
        "cvat": lambda: from_cvat(home, tmp_path / "out"),
        "coco": lambda: exported(home, "coco", tmp_path / "out", "annotations.json"),
    }[kind]()
    assert vistag(home, file, "--reviewed").exit_code == 0
    first = imported(home)
    assert first
    again = vistag(home, file, "--reviewed")
    assert "0 decisions" in again.output
    assert imported(home) == first


def exported(home: Home, name: str, folder: Path, file: str) -> Path:
    export(home, name, folder)
    return folder / file


def test_a_later_word_in_vistag_stands_when_the_file_comes_again(home: Home, tmp_path: Path) -> None:
    file = from_label_studio(home, tmp_path / "out")
    vistag(home, file)
    home.decisions.append([Event(who="eva", verdict="reject", image_id=IDS[0], concept_id="sword")])
    count = len(imported(home))
    vistag(home, file)
    assert len(imported(home)) == count


def test_a_change_of_mind_is_new_and_an_older_export_is_not(home: Home, tmp_path: Path) -> None:
    old = from_label_studio(home, tmp_path / "out")
    vistag(home, old)
    tasks = json.loads(old.read_text())
    tasks[1]["annotations"][0]["result"][0]["value"]["choices"] = ["vase"]
    tasks[1]["annotations"][0]["updated_at"] = "2026-11-02T08:00:00Z"
    new = tmp_path / "new.json"
    new.write_text(json.dumps(tasks))
    before = len(imported(home))
    vistag(home, new)
    added = imported(home)[before:]
    assert [(event.verdict, event.concept_id) for event in added] == [("accept", "vase")]
    vistag(home, old)
    assert imported(home)[before:] == added


def test_what_began_as_nothing_rejects_nothing(home: Home, tmp_path: Path) -> None:
    tasks = json.loads(exported(home, "label-studio", tmp_path / "out", "tasks.json").read_text())
    own = {
        "id": "own",
        "type": "choices",
        "from_name": "tag",
        "to_name": "image",
        "value": {"choices": ["sword"]},
    }
    tasks[0]["annotations"] = [{"completed_by": 1, "result": [own], "created_at": "2026-11-01T10:00:00Z"}]
    file = tmp_path / "in.json"
    file.write_text(json.dumps(tasks))
    vistag(home, file)
    assert [line[:2] for line in told(home)] == [("accept", "sword")]


def from_cvat(home: Home, folder: Path) -> Path:
    """What was exported, as CVAT exports it after somebody drew a box, took one away, and set a tag."""
    root = ElementTree.parse(exported(home, "cvat", folder, "annotations.xml")).getroot()
    task = root.find("meta/task")
    assert task is not None
    ElementTree.SubElement(ElementTree.SubElement(task, "assignee"), "username").text = "ada"
    labels = task.find("labels")
    assert labels is not None
    ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = "sword"
    first, second, _ = root.findall("image")
    first.remove(next(shape for shape in first if shape.tag == "box"))  # the vase
    first.remove(next(shape for shape in first if shape.get("label") == "vase"))
    box = {"label": "sword", "source": "manual", "occluded": "0", "z_order": "0"}
    ElementTree.SubElement(
        first, "box", box | {"xtl": "0", "ytl": "0", "xbr": "200", "ybr": "-1"} | {"ybr": "150"}
    )
    ElementTree.SubElement(second, "tag", {"label": "bowl", "source": "manual"})
    file = folder.parent / "annotations.xml"
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    return file


def test_what_people_did_in_cvat_and_what_they_left_alone(home: Home, tmp_path: Path) -> None:
    file = from_cvat(home, tmp_path / "out")
    packed = tmp_path / "task.zip"
    with zipfile.ZipFile(packed, "w") as target:
        target.write(file, "annotations.xml")
        target.writestr("images/1.jpg", b"picture")
    assert vistag(home, packed).exit_code == 0
    assert told(home) == [("redraw", "sword", "a", "ada"), ("accept", "bowl", "b", "ada")]
    assert imported(home)[0].box == (0, 0, 0.5, 0.5)
    vistag(home, packed, "--shown", tmp_path / "out/annotations.xml", "--reviewed")
    assert told(home)[2:] == [
        ("redraw", "sword", "a", "ada"),
        ("reject", "vase", "a", "ada"),
        ("accept", "bowl", "a", "ada"),
        ("accept", "spotlight", "a", "ada"),
        ("accept", "bowl", "b", "ada"),
        ("accept", "vase", "b", "ada"),
    ]
    states = {
        (row["id"][0], row["concept_id"]): row["state"]
        for row in home.lake.read("tags", FOLDER, ["id", "concept_id", "state"]).to_pylist()
    }
    assert states["a", "vase"] in ("rejected", "machine")  # machine: the tags are made anew by the next run


def test_coco_with_what_was_shown_beside_it(home: Home, tmp_path: Path) -> None:
    shown = exported(home, "coco", tmp_path / "out", "annotations.json")
    document = json.loads(shown.read_text())
    document["annotations"] = [
        document["annotations"][0] | {"category_id": document["annotations"][1]["category_id"]}
    ]
    file = tmp_path / "corrected.json"
    file.write_text(json.dumps(document))
    vistag(home, file, "--shown", shown, "--by", "ada")
    assert told(home) == [("correct", "bowl", "a", "ada")]


def test_a_dry_run_tells_and_writes_nothing(home: Home, tmp_path: Path) -> None:
    said = vistag(home, from_label_studio(home, tmp_path / "out"), "--dry-run")
    assert "8 decisions on 2 pictures would be taken" in said.output
    assert "correct vase -> sword: a/1.jpg (ada@example.org)" in said.output
    assert imported(home) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/data/local-files/?d=lib/a/1.jpg", True),
        ("https://example.org/photos/lib/a/1.jpg?token=x", True),
        ("s3://bucket/lib/a/1.jpg", True),
        ("/data/upload/4/0123abcd-1.jpg", True),
        ("lib/a/1.jpg", True),
        ("1.jpg", True),
        ("other/1.jpg", False),
        ("lib/a/4.jpg", False),
    ],
)
def test_pictures_are_found_by_library_and_path(home: Home, tmp_path: Path, name: str, found: bool) -> None:
    result = [
        {"id": "x", "type": "choices", "from_name": "t", "to_name": "i", "value": {"choices": ["sword"]}}
    ]
    file = tmp_path / "in.json"
    file.write_text(
        json.dumps([{"data": {"image": name}, "annotations": [{"result": result, "completed_by": 1}]}])
    )
    outcome = import_answers(open_workspace(home), read_answers(file), by="ada")
    assert [event.image_id for event in outcome.events] == ([IDS[0]] if found else [])
    assert bool(outcome.unknown_pictures) is not found


def test_a_name_of_signs_that_addresses_use_comes_back(home: Home, tmp_path: Path) -> None:
    images = tables()["images"]
    name = "a/1 & 2+3 #4?d=100%25.jpg"
    images[0]["path"] = name
    write(home, "images", images)
    for root in ("/data/local-files/?d=", "https://example.org/", ""):
        out = tmp_path / f"out {len(root)}"
        export(home, "label-studio", out, root=root)
        tasks = json.loads((out / "tasks.json").read_text())
        del tasks[0]["data"]["vistag_id"]
        tasks[0]["annotations"] = [{"result": [{"value": {"choices": ["sword"]}}], "completed_by": 1}]
        (out / "tasks.json").write_text(json.dumps(tasks))
        outcome = import_answers(
            open_workspace(home), read_answers(out / "tasks.json"), by="ada", dry_run=True
        )
        assert [event.path for event in outcome.events] == [name], root


def test_a_name_that_two_pictures_bear_is_nobodys(home: Home, tmp_path: Path) -> None:
    home.register(FolderRef("lib--b", "lib", str(home.root / "library"), "b"))
    rows = home.lake.read("images", FOLDER)
    paths, ids = [f"b/{n}.jpg" for n in (1, 2, 3)], [letter * 32 for letter in "def"]
    for column, values in (("path", paths), ("id", ids)):
        rows = rows.set_column(rows.column_names.index(column), column, [values])
    home.lake.write("images", rows, "lib--b")
    file = tmp_path / "in.json"
    document = {"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "b/1.jpg"}]}
    labels = {"categories": [{"id": 1, "name": "sword"}], "annotations": []}
    tags = {"image_tags": [{"image_id": n, "category_id": 1} for n in (1, 2)]}
    file.write_text(json.dumps(document | labels | tags))
    said = vistag(home, file)
    assert "No such picture: 1.jpg: 2 pictures" in said.output
    assert [line[2] for line in told(home)] == ["d"]


def test_words_outside_the_vocabulary_are_decided_where_they_were_proposed_and_kept_where_they_were_not(
    home: Home, tmp_path: Path
) -> None:
    write(
        home,
        "tags",
        [row | ({"needs_review": False} if row["phrase"] == HOSTILE else {}) for row in tables()["tags"]],
    )
    document = {
        "images": [{"id": n, "file_name": f"lib/a/{n}.jpg"} for n in (1, 3)],
        "categories": [{"id": 1, "name": HOSTILE}],
        "annotations": [],
        "image_tags": [{"image_id": n, "category_id": 1} for n in (1, 3)],
    }
    file = tmp_path / "in.json"
    file.write_text(json.dumps(document))
    vistag(home, file)
    assert [(event.image_id[0], event.concept_id, event.phrase) for event in imported(home)] == [
        ("a", None, HOSTILE),
        ("c", None, HOSTILE),
    ]
    assert [event.shown is None for event in imported(home)] == [True, False]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no file of decisions"),
        ("nothing", "is no file of decisions"),
        ("[1, 2]", "is no JSON export of Label Studio"),
        ('[{"id": 1, "image": "x.jpg", "choice": "sword"}]', "not as JSON-MIN"),
        ('[{"data": {}}]', "names no picture"),
        ("[" * 100_000, "nests too deep"),
        ("{", "JSON"),
        ("<annotations><image", "cannot be read as XML"),
        (
            '<annotations><image name="a" width="x" height="1"><tag label="l"/><box label="b"/></image></annotations>',
            "box 'b'",
        ),
        (
            '<annotations><image name="a" width="9" height="9"><box label="b" xtl="nan" ytl="0" xbr="1" ybr="1"/>'
            "</image></annotations>",
            "box 'b'",
        ),
        ("<annotations><track/></annotations>", "CVAT for images"),
    ],
)
def test_what_is_no_file_of_decisions_is_told_by_name(
    home: Home, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "in.file"
    file.write_text(content)
    told_ = vistag(home, file)
    assert told_.exit_code == 1
    assert said in told_.output
    assert "Traceback" not in told_.output
    assert imported(home) == []


def test_a_zip_of_nothing_or_of_much_is_told(home: Home, tmp_path: Path) -> None:
    for names in ([], ["a.xml", "b.json"]):
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as target:
            for name in names:
                target.writestr(name, b"")
        assert f"holds {len(names)} files of annotations" in vistag(home, tmp_path / "in.zip").output
    (tmp_path / "in.zip").write_bytes((tmp_path / "in.zip").read_bytes()[:-30])
    with pytest.raises(UnusableFile):
        read_answers(tmp_path / "in.zip")


@pytest.mark.extras
def test_files_that_datumaro_made_come_back(home: Home, tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    file = from_cvat(home, tmp_path / "out")
    for n, proxy in enumerate(sorted((home.root / "proxies").rglob("*.jpg")), start=1):
        picture = tmp_path / f"images/lib/a/{n}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(proxy.read_bytes())
    read = datumaro.Dataset.import_from(str(file), "cvat")
    read.export(str(tmp_path / "cvat"), "cvat", save_media=True)
    outcome = import_answers(
        open_workspace(home), read_answers(next((tmp_path / "cvat").rglob("*.xml"))), by="ada", dry_run=True
    )
    assert {("redraw", "sword"), ("redraw", "bowl"), ("accept", "vase")} <= {
        (event.verdict, event.concept_id) for event in outcome.events
    }
    read.export(str(tmp_path / "coco"), "coco_instances", save_media=True)
    made = next((tmp_path / "coco/annotations").glob("instances_*.json"))
    outcome = import_answers(open_workspace(home), read_answers(made), by="ada", dry_run=True)
    assert {("redraw", "sword"), ("redraw", "bowl")} <= {
        (event.verdict, event.concept_id) for event in outcome.events
    }


@pytest.mark.extras
def test_the_sdk_of_label_studio_takes_the_answers_that_are_read_here(home: Home, tmp_path: Path) -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="label-studio-sdk is not installed"
    )
    tasks = json.loads(from_label_studio(home, tmp_path / "out").read_text())
    config = (
        (tmp_path / "out/config.xml")
        .read_text()
        .replace('<Label value="vase"', '<Label value="sword" /><Label value="vase"')
    )
    labels = interface.LabelInterface(
        config.replace('<Choice value="vase"', '<Choice value="sword" /><Choice value="vase"')
    )
    assert labels.validate_annotation(tasks[0]["annotations"][0])
    tasks[0]["annotations"][0]["result"][0]["value"]["rectanglelabels"] = ["no label of these"]
    assert not labels.validate_annotation(tasks[0]["annotations"][0])  # the validator looks
