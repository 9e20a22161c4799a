import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from plotly.offline import get_plotlyjs

from evaluation.figures import (
    Figures,
    LaneFigures,
    RegionFigures,
    TagEvaluation,
    TagFigures,
    TextFigures,
    Throughput,
    compute_tag_figures,
)
from evaluation.history import Compared, Model, Run
from evaluation.metrics.ablation import AblationRow
from evaluation.metrics.calibration import reliability
from evaluation.metrics.captions import NamedObjects
from evaluation.metrics.comparison import compare_ranks
from evaluation.metrics.grounding import GroundingEvaluation, GroundingFigure
from evaluation.metrics.intervals import Interval, Share
from evaluation.metrics.masks import MaskFigures
from evaluation.metrics.phrase_grounding import PhraseFigure
from evaluation.report import LongTailReport, render_comparison, render_html, render_markdown
from evaluation.report.changes import comparison_json
from evaluation.report.view import headline, interval, lost_tags, percent
from resources.tables import TAG_CONFUSIONS, TAG_RANKS

HOSTILE = "<script>alert('x')</script> | **bold** </script>"
PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
CHROMIUM = shutil.which("chromium")
BANDS = ("overall", "head", "body", "tail")


def evaluate(support: Sequence[int], found: Sequence[int], zero: int = 0) -> TagEvaluation:
    """Tag n is carried by the first `support[n]` images and predicted on the first `found[n]` of them."""
    tags = [f"t{n:02}" for n in range(len(support))]
    truth = [(f"i{i:03}", tag) for tag, images in zip(tags, support, strict=True) for i in range(images)]
    hits = [(f"i{i:03}", tag) for tag, images in zip(tags, found, strict=True) for i in range(images)]

    def table(pairs: list[tuple[str, str]]) -> pa.Table:
        ids, concepts = ([pair[n] for pair in pairs] for n in (0, 1))
        return pa.table({"id": pa.array(ids, pa.string()), "concept_id": pa.array(concepts, pa.string())})

    predictions = table(hits).append_column("score", pa.array(np.full(len(hits), 0.5)))
    vocabulary = [*tags, *(f"zero{n}" for n in range(zero))]
    return compute_tag_figures(table(truth), predictions, vocabulary)


@pytest.fixture(scope="module")
def report() -> LongTailReport:
    """Ten tags: one in the head, two in the body, seven in the tail, of which t08 and t09 are lost."""
    tags = evaluate([40, 20, 20, 9, 8, 7, 6, 5, 4, 3], [38, 18, 15, 5, 4, 3, 2, 1, 0, 0], zero=2)
    return LongTailReport(
        Figures(
            *("demo", 41, 1),
            TagFigures(tags, whole_vocabulary=tags),
            throughput={"tag_scores": Throughput(1234.5, "cpu")},
        ),
        datetime(2025, 1, 2, 3, 4, tzinfo=UTC),
        model="tiny",
        taxonomy_fingerprint="0123abcd",
        labels={"t08": HOSTILE, "zero1": "plain label"},
        examples={"t08": [PICTURE]},
    )


@pytest.fixture(scope="module")
def page(report: LongTailReport) -> str:
    return render_html(report)


def test_the_page_leads_with_the_tail_in_plain_words(report: LongTailReport, page: str) -> None:
    sentence = headline(report.tags)
    assert sentence.replace("\u00a0", " ") == (
        "Of 42 rare tags that the ground truth names, 15 (36 %) stand among the first ten suggestions; "
        "the head: 95 %."
    )
    assert f"<h1>{sentence}</h1>" in page
    assert re.findall(r'class="card (\w+)"', page) == ["tail", "body", "head", "overall", "gap"]
    assert "5 of 7 rare concepts are found at least once, 2 never." in page


class _Loads(HTMLParser):
    """Collects what a browser would fetch, where links within the page lead, and the names of all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.inside: list[str] = []
        self.ids: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        given = [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.fetched += [value for value in given if not value.startswith("#")]
        self.inside += [value for value in given if value.startswith("#")]
        self.ids += [f"#{value}" for name, value in attrs if name == "id"]


def test_the_page_is_one_file_that_loads_nothing(page: str) -> None:
    assert page.count(get_plotlyjs()) == 1
    own = page.replace(get_plotlyjs(), "")
    loads = _Loads()
    loads.feed(own)
    assert loads.fetched == [PICTURE]
    assert loads.inside
    assert set(loads.inside) <= set(loads.ids)
    assert "http:" not in own
    assert "https:" not in own
    assert "default-src 'none'" in own
    assert len(page.encode()) < 7 * 2**20


def test_hostile_labels_stay_text(page: str) -> None:
    own = page.replace(get_plotlyjs(), "")
    loads = _Loads()
    loads.feed(own)
    assert loads.elements.count("script") == 3  # the charts' data, plotly, the page's own
    assert "<script>alert" not in own
    assert "&lt;script&gt;alert" in own


def test_markdown_escapes_labels_and_keeps_its_tables_whole(report: LongTailReport) -> None:
    markdown = render_markdown(report)
    assert markdown.startswith("**Of 42 rare tags")
    assert "<script>" not in markdown
    assert r"\|" in markdown
    assert r"\*\*bold\*\*" in markdown
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {11, 6, 3}
    assert [line.split()[1] for line in tables[2:6]] == ["tail", "body", "head", "overall"]


def test_lost_tags_are_the_tail_tags_with_no_hit_the_most_frequent_first(report: LongTailReport) -> None:
    assert [(tag.concept_id, tag.label, tag.images, tag.best_rank) for tag in lost_tags(report)] == [
        ("t08", HOSTILE, 4, None),
        ("t09", "t09", 3, None),
    ]


def test_absent_parts_leave_no_trace(report: LongTailReport) -> None:
    bare = LongTailReport(
        Figures("cpu", 40, 0, TagFigures(evaluate([40, 20], [40, 20]))), datetime(2025, 1, 2, tzinfo=UTC)
    )
    page = render_html(bare).replace(get_plotlyjs(), "")
    for words in ("lost entirely", "on no image", "whole vocabulary", "gap", "Model", "None"):
        assert words not in page.split("</style>")[1]
    assert "too few tags to tell rare ones from common ones" in page
    assert render_markdown(bare).startswith("**Of 60 tags that the ground truth names, 60 (100\u00a0%)")


def test_a_report_needs_an_evaluation_and_pictures_that_need_no_network() -> None:
    when = datetime(2025, 1, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="evaluate the tags first"):
        LongTailReport(Figures("demo", 1, 0), when)
    with pytest.raises(ValueError, match=r"'t00'.*data URIs"):
        LongTailReport(
            Figures("demo", 1, 0, TagFigures(evaluate([2], [1]))),
            when,
            examples={"t00": ["https://a.b/c.jpg"]},
        )


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.456, "46 %"), (0.997, "99.7 %"), (0.0004, "<0.1 %"), (0.9999, ">99.9 %")],
)
def test_a_percentage_is_never_rounded_to_all_or_nothing(share: float, text: str) -> None:
    assert percent(share).replace("\u00a0", " ") == text


def test_an_interval_that_is_absent_says_why() -> None:
    assert interval(Interval(0.421, 0.5)).replace("\u00a0", " ") == "42 to 50 %"
    assert "one image" in interval(None)


@pytest.fixture(scope="module")
def full(report: LongTailReport) -> LongTailReport:
    """A report with every part that there can be."""
    bounds = Interval(0.5, 0.7)
    named = NamedObjects(41, 0.81, 90, bounds, 0.05, 80, bounds)
    return replace(
        report,
        figures=replace(
            report.figures,
            tags=TagFigures(
                report.tags,
                evaluate([40, 20, 20, 9, 8, 7, 6, 5, 4, 3], [38, 18, 15, 5, 4, 3, 2, 1, 0, 0]),
                report.tag_figures.whole_vocabulary,
            ),
            regions=RegionFigures(
                GroundingEvaluation(
                    41,
                    tuple(
                        GroundingFigure(band, iou, 0.61, 0.6, 120, 7, bounds if iou == "0.5" else None)
                        for band in BANDS
                        for iou in ("0.5", "0.75", "0.5:0.95")
                    ),
                    gap=(0.07, Interval(-0.01, 0.15)),
                    over_the_cap=0,
                ),
                MaskFigures(0.784, 66, bounds),
            ),
            phrases=tuple(PhraseFigure(band, 0.437, 0.4, 117, 7, bounds) for band in BANDS),
            texts=TextFigures(
                ocr=Share(0.9, 10, bounds),
                captions=named,
                schema_valid=Share(1.0, 41),
                lanes={
                    "fast": LaneFigures(30, {}, 0.8, named, None),
                    "heavy": LaneFigures(11, {"low_coverage": 9, "text": 4}, None, named, named),
                },
            ),
            ladder=(
                AblationRow("A1", 0.4, 0.2, tail_gain=-0.1),
                AblationRow("A2", 0.5, 0.3, seconds_per_image=0.0123),
                AblationRow("B3", 0.6, 0.42, 0.61, None, 0.12, Interval(0.05, 0.2), 1.5),
            ),
        ),
    )


def test_both_reports_say_what_the_whole_graph_gains_and_finds(full: LongTailReport) -> None:
    page, markdown = render_html(full), render_markdown(full)
    for text in (page.replace(get_plotlyjs(), ""), markdown):
        plain = text.replace("\u00a0", " ")
        assert "B3 recovers +12 points of tail recall@10 against A2 (95 % interval +5 to +20" in plain
        assert "11 of 41 images (27 %) went to the heavy lane: low coverage 9, text 4." in plain
        for words in ("Mask IoU", "0.784", "Objects invented", "Valid descriptions", "Signs read", "1.5 s"):
            assert words in plain, words
        assert plain.count("43.7 %") == len(BANDS)  # of the phrases the best region is right
        assert "best region right" in plain.lower()
    sections = re.findall(r"<h2>([^<]+)", page)
    assert {"The ladder", "Regions found", "What routing changed", "Embeddings alone"} <= set(sections)
    rows = re.search(r"<h2>Regions found</h2>.*?</table>", page, re.S)
    assert rows is not None
    assert re.findall(r"</i>(\w+)</th>", rows.group()) == ["tail", "body", "head", "overall"]
    assert "no interval: one image" in rows.group()


def a_run(day: int, micro: float, accepted_by: str | None) -> Run:
    rows = tuple(
        {"band": band, "k": 10, "micro": micro, "ci95_low": micro - 0.1, "ci95_high": micro + 0.1}
        for band in ("overall", "tail")
    )
    when = datetime(2025, 1, day, tzinfo=UTC)
    models = (Model("encoder", "tiny", f"{day:016}"),)
    return Run(
        f"run{day}",
        when,
        "demo",
        "B3",
        models,
        "t",
        "c",
        41,
        "run1" if day > 1 else None,
        accepted_by,
        rows,
        (),
    )


@pytest.fixture(scope="module")
def watched(report: LongTailReport) -> LongTailReport:
    """A report of a third run, which lost t07 and won a little elsewhere, with probabilities and confusions."""
    ranks = [(f"i{n:02}", tag, band) for tag, band in (("t07", "tail"), ("t00", "head")) for n in range(20)]
    columns = [list(column) for column in zip(*ranks, strict=True)]
    before = pa.table([*columns, pa.array([1] * 39 + [None], pa.int32())], schema=TAG_RANKS.schema)
    after = pa.table([*columns, pa.array([None] * 12 + [2] * 28, pa.int32())], schema=TAG_RANKS.schema)
    runs = [a_run(1, 0.7, "check"), a_run(2, 0.4, None), a_run(3, 0.5, "person")]
    confused = {"concept_id": "t09", "images": 3, "missed": 3, "instead": "t08", "times": 2}
    told = reliability(np.array([0.95, 0.92, 0.3, 0.05]), np.array([True, True, False, False]), np.arange(4))
    assert told is not None
    return replace(
        report,
        figures=replace(
            report.figures, tags=replace(report.tag_figures, calibration={"overall": told, "tail": told})
        ),
        confusions=pa.Table.from_pylist([confused], schema=TAG_CONFUSIONS.schema),
        history=runs,
        compared=Compared(runs[0], runs[2], compare_ranks(before, after, 10), {"t07": HOSTILE}),
    )


def test_both_reports_say_what_changed_what_stood_instead_and_what_probabilities_are_worth(
    watched: LongTailReport,
) -> None:
    page, markdown = render_html(watched).replace(get_plotlyjs(), ""), render_markdown(watched)
    for text in (page, markdown):
        plain = text.replace("\u00a0", " ")
        assert "Rare tags were lost: −60.0 points of recall@10 (95 % interval −" in plain
        assert "could be chance" in plain
        assert re.search(r"encoder tiny \\?\(000000\\?\) → tiny \\?\(000000\\?\)", plain)
        assert "Given a probability of 90 % or more, 100 % of the 2 all tags and" in plain
        assert "<script>alert" not in text
    assert "The check did not accept" not in page
    rows = re.search(r"Rare tags that changed.*?</table>", page, re.S)
    assert rows is not None
    assert "▼ 12" in rows.group()
    lost = re.search(r"lost entirely.*?</table>", page, re.S)
    assert lost is not None
    assert re.search(r"t09</th>.*×2", lost.group(), re.S)
    assert "missed at times" in page
    charts = json.loads(re.findall(r'id="charts">(.*?)</script>', page, re.S)[0])
    tail = next(part for part in charts["trend"]["data"] if part.get("name") == "tail")
    assert tail["y"] == [0.7, 0.4, 0.5]
    assert tail["marker"]["symbol"] == ["diamond", "diamond-open", "diamond"]
    assert set(charts) == {"curves", "scatter", "trend", "calibration"}


def test_lvis_bands_stand_below_the_others_where_they_were_measured(report: LongTailReport) -> None:
    tags = report.tags
    rare = [replace(figure, band="rare") for figure in tags.recall if figure.band == "tail"]
    measured = replace(
        tags,
        recall=(*(figure for figure in tags.recall if figure.band != "rare"), *rare),
        bands={**tags.bands, "rare": tags.bands["tail"]},
        mean_average_precision={**tags.mean_average_precision, "rare": 0.25},
        f1=(*tags.f1, replace(tags.f1[0], band="rare")),
    )
    lvis = replace(report, figures=replace(report.figures, tags=TagFigures(measured)))
    section = re.search(r"<h2>Bands</h2>.*?</table>", render_html(lvis), re.S)
    assert section is not None
    assert re.findall(r"</i>(\w+)</th>", section.group())[:5] == ["tail", "body", "head", "overall", "rare"]
    assert "| rare | 7 |" in render_markdown(lvis)


def test_a_comparison_has_a_page_of_its_own_that_runs_and_loads_nothing(watched: LongTailReport) -> None:
    assert watched.compared is not None
    page = render_comparison(watched.compared)
    loads = _Loads()
    loads.feed(page)
    assert loads.fetched == []
    assert "script" not in loads.elements
    assert "<h1>Rare tags were lost: −60.0 points" in page
    told = comparison_json(watched.compared)
    assert told["tag_recall@10"]["tail"]["is_real"]
    assert [(row["concept_id"], row["lost"], row["gained"]) for row in told["changed_tags"]] == [
        ("t07", 12, 0),
        ("t00", 0, 1),
    ]


def test_the_tables_of_the_markdown_stay_whole_with_every_part(full: LongTailReport) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", render_markdown(full), re.M)
    assert len(blocks) == 7
    for block in blocks:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in block.splitlines()}) == 1, block


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the PATH")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_real_browser_draws_every_tag_runs_no_label_and_asks_for_nothing(
    watched: LongTailReport, tmp_path: Path, scheme: str
) -> None:
    from playwright.sync_api import sync_playwright

    file = tmp_path / "report.html"
    file.write_text(render_html(watched), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        tab.set_default_timeout(120_000)
        requests: list[str] = []
        errors: list[str] = []
        dialogs: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("dialog", lambda dialog: dialogs.append(dialog.message))
        tab.goto(file.as_uri())
        tab.wait_for_selector("[data-chart=scatter] .main-svg")
        drawn = [tab.locator(f"[data-chart={chart}] .main-svg").count() for chart in ("trend", "calibration")]
        points = tab.locator("[data-chart=scatter] path.point").count()
        ink = tab.evaluate("getComputedStyle(document.body).color")
        tick = tab.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill")
        browser.close()
    assert points == 10
    assert min(drawn) >= 1
    assert tick == ink  # chart text follows the colour scheme
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert errors == []
    assert dialogs == []
