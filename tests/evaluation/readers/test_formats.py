"""One small data set in each format that people have, as ground truth and as predictions."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from annotation_files import write
from PIL import Image
from pyarrow import parquet

from evaluation.evaluate import Terms, evaluate_files
from evaluation.readers import UnusableFile, read_predictions, read_truth

WIDTH, HEIGHT = 200, 100
BOXES = (  # image, class, x, y, width, height, score
    ("a.jpg", "vase", 20, 10, 40, 50, 0.9),
    ("a.jpg", "lyre", 100, 20, 60, 60, 0.8),
    ("b.jpg", "vase", 0, 0, 100, 100, 0.7),
)
CLASSES = ("vase", "lyre")
Make = Callable[[Path], tuple[Path, Path]]


def csv(tmp: Path, separator: str = ",") -> tuple[Path, Path]:
    truth = [("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")]
    truth += [
        (i, str(WIDTH), str(HEIGHT), c, *map(str, (x, y, x + w, y + h))) for i, c, x, y, w, h, _ in BOXES
    ]
    found = [("image", "label", "x", "y", "width", "height", "confidence")]
    found += [(i, c, *map(str, (x, y, w, h, s))) for i, c, x, y, w, h, s in BOXES]
    files = []
    for name, rows in (("t.csv", truth), ("p.csv", found)):
        text = "".join(separator.join(row) + "\n" for row in rows)
        files.append(
            write(tmp / name, text.replace("0.", "0,") if separator == ";" and name == "p.csv" else text)
        )
    return files[0], files[1]


def packed(tmp: Path) -> tuple[Path, Path]:
    files = csv(tmp)
    for file in files:
        file.with_suffix(".csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    return tmp / "t.csv.gz", tmp / "p.csv.gz"


def utf16(tmp: Path) -> tuple[Path, Path]:
    files = csv(tmp, "\t")
    for file in files:
        file.write_bytes(file.read_text().encode("utf-16"))
    return files


def flat_parquet(tmp: Path) -> tuple[Path, Path]:
    columns = {"image": [b[0] for b in BOXES], "tag": [b[1] for b in BOXES]}
    columns |= {side: [b[2 + n] for b in BOXES] for n, side in enumerate(("x", "y", "width", "height"))}
    parquet.write_table(pa.table(columns), tmp / "t.parquet")
    parquet.write_table(pa.table({**columns, "score": [b[6] for b in BOXES]}), tmp / "p.parquet")
    return tmp / "t.parquet", tmp / "p.parquet"


def nested() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for image in ("a.jpg", "b.jpg"):
        own = [b for b in BOXES if b[0] == image]
        objects = {
            "bbox": [b[2:6] for b in own],
            "categories": [b[1] for b in own],
            "scores": [b[6] for b in own],
        }
        rows.append({"file_name": image, "objects": objects})
    return rows


def hugging_face(tmp: Path) -> tuple[Path, Path]:
    write(tmp / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in nested()))
    rows = [
        {"image": {"bytes": b"", "path": row["file_name"]}, "objects": row["objects"]} for row in nested()
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp / "p.parquet")
    return tmp, tmp / "p.parquet"


def json_lines(tmp: Path) -> tuple[Path, Path]:
    rows = [
        {"image": b[0], "label": b[1], "x1": b[2], "y1": b[3], "x2": b[2] + b[4], "y2": b[3] + b[5]}
        for b in BOXES
    ]
    scored = [{**row, "score": b[6]} for row, b in zip(rows, BOXES, strict=True)]
    texts = ["".join(json.dumps(row) + "\n" for row in given) for given in (rows, scored)]
    return write(tmp / "t.jsonl", texts[0]), write(tmp / "p.ndjson", texts[1])


def coco_lines(tmp: Path) -> tuple[Path, Path]:
    ids = {"a.jpg": 1, "b.jpg": 2}
    rows = [{"image_id": ids[b[0]], "category_id": CLASSES.index(b[1]) + 1, "bbox": b[2:6]} for b in BOXES]
    truth = {
        "images": [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for name, n in ids.items()],
        "categories": [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)],
        "annotations": rows,
    }
    lines = "".join(json.dumps({**row, "score": b[6]}) + "\n" for row, b in zip(rows, BOXES, strict=True))
    return write(tmp / "t.json", truth), write(tmp / "p.jsonl", lines)


def yolo(tmp: Path) -> tuple[Path, Path]:
    for folder in ("images", "labels", "found"):
        (tmp / folder).mkdir()
    write(tmp / "data.yaml", f"names: [{', '.join(CLASSES)}]\nnc: 2\n")
    for image in ("a.jpg", "b.jpg", "empty.jpg"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp / "images" / image)
        lines = [
            (CLASSES.index(c), (x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT, s)
            for i, c, x, y, w, h, s in BOXES
            if i == image
        ]
        for folder, numbers in (("labels", 5), ("found", 6)):
            text = "".join(" ".join(map(str, line[:numbers])) + "\n" for line in lines)
            write(tmp / folder / f"{image.split('.')[0]}.txt", text)
    return tmp / "labels", tmp / "found"


def voc(tmp: Path) -> tuple[Path, Path]:
    for image in ("a.jpg", "b.jpg"):
        things = "".join(
            f"<object><name>{c}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
            "</bndbox></object>"
            for i, c, x, y, w, h, _ in BOXES
            if i == image
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        write(tmp / f"{image}.xml", f"<annotation><filename>{image}</filename>{size}{things}</annotation>")
    return tmp, tmp


def cvat(tmp: Path) -> tuple[Path, Path]:
    images = "".join(
        f'<image id="{n}" name="{image}" width="{WIDTH}" height="{HEIGHT}">'
        + "".join(
            f'<box label="{c}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" occluded="0"/>'
            if n
            else f'<polygon label="{c}" points="{x},{y};{x + w},{y};{x + w},{y + h};{x},{y + h}"/>'
            for i, c, x, y, w, h, _ in BOXES
            if i == image
        )
        + "</image>"
        for n, image in enumerate(("a.jpg", "b.jpg"))
    )
    file = write(
        tmp / "annotations.xml",
        f'<?xml version="1.0"?>\n<annotations><version>1.1</version>{images}</annotations>',
    )
    return file, file


def label_studio(tmp: Path) -> tuple[Path, Path]:
    tasks = []
    for n, image in enumerate(("a.jpg", "b.jpg")):
        result = [
            {
                "type": "rectanglelabels",
                "from_name": "label",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "score": s,
                "value": {
                    "x": 100 * x / WIDTH,
                    "y": 100 * y / HEIGHT,
                    "width": 100 * w / WIDTH,
                    "height": 100 * h / HEIGHT,
                    "rectanglelabels": [c],
                },
            }
            for i, c, x, y, w, h, s in BOXES
            if i == image
        ]
        uploaded = f"/data/upload/1/0123abcd-{image}"
        groups = {"annotations": [{"result": result}], "predictions": [{"result": result, "score": 0.5}]}
        tasks.append({"id": n, "data": {"image": uploaded}, **groups})
    file = write(tmp / "project.json", tasks)
    return file, file


def fiftyone(tmp: Path) -> tuple[Path, Path]:
    samples = []
    for image in ("a.jpg", "b.jpg"):
        detections = [
            {
                "_cls": "Detection",
                "label": c,
                "bounding_box": [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT],
                "confidence": s,
            }
            for i, c, x, y, w, h, s in BOXES
            if i == image
        ]
        field = {"_cls": "Detections", "detections": detections}
        size = {"_cls": "ImageMetadata", "width": WIDTH, "height": HEIGHT}
        samples.append(
            {"filepath": f"data/{image}", "metadata": size, "ground_truth": field, "predictions": field}
        )
    write(tmp / "samples.json", {"samples": samples})
    return tmp, tmp / "samples.json"


FORMATS: dict[str, Make] = {
    "csv": csv,
    "csv;": lambda tmp: csv(tmp, ";"),
    "csv-tabs": lambda tmp: csv(tmp, "\t"),
    "csv-gzip": packed,
    "csv-utf16": utf16,
    "csv-parquet": flat_parquet,
    "csv-lines": json_lines,
    "imagefolder": hugging_face,
    "coco": coco_lines,
    "yolo": yolo,
    "voc": voc,
    "cvat": cvat,
    "label-studio": label_studio,
    "fiftyone": fiftyone,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    truth, predictions = FORMATS[name](tmp_path)
    found = evaluate_files(truth, predictions, terms=Terms())
    assert found.grounding is not None
    overall = found.grounding.figure("overall", "0.5:0.95")
    assert overall is not None
    assert (overall.support, overall.tags) == (3, 2)
    assert overall.mean_average_precision == pytest.approx(1)
    recall = found.tags.recall_figure("overall")
    assert recall is not None
    assert (recall.micro, recall.support) == (1, 3)
    assert found.tags.images == (3 if name == "yolo" else 2)
    said = f"is read as {name.split('-')[0].rstrip(';') if name.startswith('csv') else name}."
    assert [said in remark for remark in found.remarks[:1]] == [True]


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in ("csv", "coco")])
def test_predictions_of_every_format_meet_a_plain_ground_truth(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    _, predictions = FORMATS[name](tmp_path)
    truth, _ = csv(other)
    found = evaluate_files(truth, predictions)
    assert found.grounding is not None
    figure = found.grounding.figure("overall")
    assert figure is not None
    assert figure.micro == 1


def test_metadata_csv_of_a_folder_holds_a_label_or_several(tmp_path: Path) -> None:
    one = write(tmp_path / "metadata.csv", "file_name,label\na.jpg,vase\nb.jpg,lyre\n")
    assert read_truth(tmp_path).tags.num_rows == 2
    assert read_truth(one).concepts["concept_id"].to_pylist() == ["lyre", "vase"]
    write(one, 'file_name,tags\na.jpg,"[""vase"", ""gilt""]"\nb.jpg,vase|lyre\nc.jpg,\n')
    truth = read_truth(tmp_path)
    assert truth.images.num_rows == 3
    assert truth.tags.num_rows == 4
    lists = {"image": ["a.jpg"], "tags": [["vase", "gilt"]], "scores": [[0.9, 0.1]]}
    parquet.write_table(pa.table(lists), tmp_path / "p.parquet")
    rows = read_predictions(tmp_path / "p.parquet").tags
    assert rows is not None
    assert rows.table["score"].to_pylist() == [0.9, 0.1]


def test_labels_of_whole_images(tmp_path: Path) -> None:
    choices = {"type": "choices", "value": {"choices": ["vase", "lyre"]}}
    tasks = [{"data": {"image": "s3://bucket/x/a.jpg"}, "annotations": [{"result": [choices]}]}]
    studio = read_truth(write(tmp_path / "studio.json", tasks))
    small = [{"id": 1, "image": "/data/upload/1/0123abcd-a.jpg", "choice": "vase", "annotator": 1}]
    least = read_truth(write(tmp_path / "min.json", small))
    labels = {"classes": ["vase", "lyre"], "labels": {"a": 1, "b": None}}
    classes = read_truth(write(tmp_path / "labels.json", labels))
    xml = '<annotations><image name="a.jpg" width="9" height="9"><tag label="vase"/></image></annotations>'
    tagged = read_truth(write(tmp_path / "tags.xml", xml))
    assert studio.tags.num_rows == 2
    assert (least.images["id"].to_pylist(), least.tags["concept_id"].to_pylist()) == (["a.jpg"], ["vase"])
    assert (classes.images.num_rows, classes.tags["concept_id"].to_pylist()) == (2, ["lyre"])
    assert (tagged.tags.num_rows, tagged.boxes) == (1, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            "0 0.5 0.5 0.2 0.2\n0 0.5 wide 0.2 0.2\n",
            "a.txt, line 2: '0 0.5 wide 0.2 0.2' is no `class",
        ),
        (
            "a.xml",
            "<annotation><object><name>x</name></object></annotation>",
            "a.xml, object 1: has no name, or a bndbox",
        ),
        ("a.xml", "<annotation><object>", "a.xml: cannot be read as XML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(UnusableFile) as refusal:
        read_truth(tmp_path)
    assert message in str(refusal.value)
