"""The evaluation of a hand-made lake, really run: its tables, and the JSON that scripts read."""

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hand_made_lake import IDS, make_home, tables, write
from tiny_taggers import save_tiny_ram

from evaluation import assets, compute, history
from evaluation.from_lake import EvaluationError
from evaluation.metrics import comparison, confusions, intervals, matching, phrase_grounding, recall_at_k
from evaluation.metrics.comparison import Comparison
from evaluation.options import option_tables
from evaluation.stored import figures_of, stored_figures, with_figures
from resources.home import Home, read_settings, write_settings
from resources.lake import Lake
from resources.models.tiers import HERE
from resources.tables import LADDER
from resources.workspace import VistagResource, open_workspace, run_config
from vistag_assets.definitions import defs
from vistag_assets.partitions import EVALUATE
from vistag_assets.whole_image.concept_embeddings import embed_concepts

BEFORE = Path(__file__).with_name("hand_made_lake.json")
"""What the report said of this lake when every asset still measured for itself."""
SPEEDS = {"captions": 4.0, "tag_scores": 100.0}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_home(tmp_path_factory.mktemp("made") / "home")
    embed_concepts(open_workspace(home))
    return home.root


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    return Home(shutil.copytree(made, tmp_path / "home"))


def evaluated(home: Home, speeds: Mapping[str, float] = {}) -> Json:
    """The figures of a run of the whole evaluation, on an instance that remembers those images a second."""
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as process:
        process.setenv("VISTAG_HOME", str(home.root))
        for asset, images_per_second in speeds.items():
            metadata: Any = {"images_per_second": images_per_second, "device": "cpu"}
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, metadata=metadata))
        job = defs.resolve_job_def(EVALUATE)
        assert job.execute_in_process(instance=instance, run_config=run_config(home)).success
    figures: Json = json.loads((home.reports_dir / "long_tail.json").read_text())
    return figures


def flat(figures: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure by where it stands, numbers as far as machines agree on them."""
    if isinstance(figures, Mapping | list):
        for key, value in figures.items() if isinstance(figures, Mapping) else enumerate(figures):
            yield from flat(value, f"{path}/{key}")
    else:
        yield path, pytest.approx(figures, abs=1e-12) if isinstance(figures, float) else figures


def test_true_regions_are_relative_to_their_image_whatever_its_size(home: Home) -> None:
    evaluated(home)
    rows = home.lake.read("ground_truth_regions").to_pylist()
    assert [(row["id"], row["concept_id"]) for row in rows] == [
        (IDS[0], "bowl"),
        (IDS[0], "vase"),
        (IDS[1], "bowl"),
    ]
    assert rows[0]["bbox"] == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert (rows[0]["height"], rows[0]["width"]) == (600, 800)


def test_every_part_is_measured_and_has_its_place_in_the_json(home: Home) -> None:
    figures = evaluated(home, SPEEDS)
    assert (figures["images"], figures["rejects"]) == (3, 1)
    # bowl on a and b, vase and spotlight on a: the final tags lack the bowl that a person rejected
    assert figures["tag_recall"]["overall"]["10"]["micro"] == pytest.approx(3 / 4)
    assert figures["tag_recall_embeddings"]["overall"]["10"]["micro"] == 1.0
    grounding = figures["grounding_recall"]
    assert grounding["overall"]["0.5"]["micro"] == pytest.approx(2 / 3)
    assert grounding["overall"]["0.75"]["micro"] == pytest.approx(2 / 3)  # the vase's IoU is 0.75
    assert grounding["overall"]["0.5:0.95"]["support"] == 3
    assert figures["gap"]["grounding_recall@0.5"] == pytest.approx(2 / 3 - 1)
    assert figures["masks"] == {"mean_iou": pytest.approx(0.5, abs=0.01), "support": 1}
    assert figures["ocr"]["recall"] == 0.5
    captions = figures["captions"]
    assert captions["object_recall"] == pytest.approx(2 / 3)  # "a vessel" names no bowl
    assert captions["hallucination_rate"] == 0.0  # swords are not in the evaluated vocabulary
    assert captions["schema_valid"] == pytest.approx(2 / 3)
    assert figures["routing"]["heavy"]["reasons"] == {"low_coverage": 1, "text": 1}
    ladder = {row["option"]: row for row in figures["ladder"]}
    # the keywords name both bowls, the caption of a its vase, nobody the spotlight
    assert ladder["A1"]["tag_recall@10"]["overall"] == pytest.approx(3 / 4)
    assert ladder["A2"]["tag_recall@10"]["overall"] == 1.0
    assert ladder["B3"]["grounding_recall@0.5"]["overall"] == pytest.approx(2 / 3)
    assert "grounding_recall@0.5" not in ladder["A2"]
    assert ladder["A2"]["seconds_per_image"] == pytest.approx(1 / 4 + 1 / 100)
    assert ladder["B3"]["tail_gain"] == 0.0
    assert "tail_gain" not in ladder["A2"]


@pytest.mark.slow
def test_a_tagger_has_a_row_of_the_ladder(home: Home, tmp_path: Path) -> None:
    evaluated(home)
    bundled = (HERE / "demo.yaml").read_text().replace("../../../demo", str(HERE.parents[2] / "demo"))
    # the bundled fusion was fitted without a tagger
    prior = "\n".join(line for line in bundled.splitlines() if not line.startswith("fusion:"))
    line = {"family": "ram-plus", "model": str(save_tiny_ram("ram-plus", tmp_path / "ram")), "licence": "own"}
    (tmp_path / "tier.yaml").write_text(f"{prior}\ntagger: {json.dumps(line)}\n")
    write_settings(home, read_settings(home).model_copy(update={"tier": str(tmp_path / "tier.yaml")}))
    # what the tagger says is not there yet: the options that hear it are not compared, and none fails
    assert [told.option for told in option_tables(open_workspace(home), {})] == ["A1", "A2", "B2"]

    columns = ("id", "rank", "tag", "category", "concept_id", "score", "threshold")
    said = [
        (IDS[0], 1, "spotlights", None, None, 0.9, 0.6),
        (IDS[0], 2, "zombie", None, None, 0.8, 0.6),
        (IDS[1], 1, "Bowl", "general", None, 0.9, 0.6),
    ]
    write(home, "tagger_scores", [dict(zip(columns, row, strict=True)) for row in said])
    tables_of = {
        told.option: told.predictions.to_pylist() for told in option_tables(open_workspace(home), {})
    }
    assert list(tables_of) == ["A1", "A2", "A2T", "A3", "B2", "B3"]
    found, before = (
        {(row["id"], row["concept_id"]): row["score"] for row in tables_of[option]}
        for option in ("A2T", "A2")
    )
    named = {(IDS[0], "spotlight"), (IDS[1], "bowl")}
    for pair in named:  # half of the tagger's word, which is 1 - 0.5 * (1 - 0.9) / (1 - 0.6)
        assert found[pair] == pytest.approx(1 - (1 - before[pair]) * (1 - 0.5 * 0.875), abs=1e-5)
    assert {pair: score for pair, score in found.items() if pair not in named} == {
        pair: score for pair, score in before.items() if pair not in named
    }
    figures = evaluated(home)
    rows = {row["option"]: row for row in figures["ladder"]}
    assert list(rows) == ["A1", "A2", "A2T", "A3", "B2", "B3"]
    assert rows["A2T"]["tag_recall@10"]["overall"] == 1.0
    assert "A2T and a tagger" in (home.reports_dir / "long_tail.md").read_text()


def test_the_json_is_what_it_was_when_every_asset_measured_for_itself(home: Home) -> None:
    figures = evaluated(home, SPEEDS)
    phrases = figures.pop("phrase_grounding")
    before = json.loads(BEFORE.read_text())
    assert figures.pop("tag_map_floor").keys() == figures["tag_map"].keys()
    # intervals are made in another way since
    shares = [{key: value for key, value in flat(part) if "ci95" not in key} for part in (figures, before)]
    assert shares[0] == shares[1]
    assert list(figures) == list(before)
    overall = phrases["overall"]
    assert (overall["micro"], overall["macro"], overall["support"]) == pytest.approx((2 / 3, 3 / 4, 3))
    assert set(overall) == {"micro", "macro", "support", "ci95"}


def test_phrases_are_grounded_by_their_best_region(home: Home) -> None:
    evaluated(home)
    rows = {row["band"]: row for row in home.lake.read("phrase_grounding").to_pylist()}
    assert rows["overall"]["support"] == 3
    assert rows["overall"]["micro"] == pytest.approx(2 / 3)
    home.lake.delete("grounded_regions", "lib--a")
    assert compute.phrases(home.lake) == ()


def test_parts_whose_tables_are_not_there_are_absent(home: Home) -> None:
    for table in ("tags", "grounded_regions", "captions", "routing", "descriptions", "ocr_text"):
        home.lake.delete(table, "lib--a")
    figures = evaluated(home)
    absent = {"grounding_recall", "phrase_grounding", "masks", "ocr", "captions", "routing", "throughput"}
    assert not absent & figures.keys()
    assert [row["option"] for row in figures["ladder"]] == ["A2", "B2"]
    assert figures["tag_recall"] == figures["tag_recall_embeddings"]
    assert figures["gap"].keys() <= {"tag_recall@10"}


def test_a_stage_that_has_not_looked_at_every_image_is_named(home: Home) -> None:
    rows = home.lake.read("tags", "lib--a")
    home.lake.write("tags", rows.slice(0, 1).replace_schema_metadata(), "lib--a")
    with pytest.raises(EvaluationError, match=r"2 of the 3 images .* no final tags yet"):
        evaluated(home)


def test_the_same_content_in_two_folders_counts_once(home: Home) -> None:
    once = evaluated(home)
    for table in tables():
        home.lake.write(table, home.lake.read(table, "lib--a"), "lib--b")
    assert evaluated(home) == once | {"rejects": 2}


def test_the_ladder_as_a_table_keeps_what_is_missing_null(home: Home) -> None:
    evaluated(home)
    rows = home.lake.read("ladder")
    assert rows.schema.remove_metadata().equals(LADDER.schema)
    assert rows["option"].to_pylist() == ["A1", "A2", "A3", "B2", "B3"]
    assert rows["grounding_recall_overall"].null_count == 3
    assert rows["seconds_per_image"].null_count == 5


def test_rows_about_other_images_change_nothing(home: Home) -> None:
    before = evaluated(home)
    more = dict(tables()["captions"][0], id="d" * 32)
    write(home, "captions", [*tables()["captions"], more])
    assert evaluated(home) == before


# ---- what is measured once, and what every asset reads


def assets_of_the_evaluation() -> dict[str, dg.AssetsDefinition]:
    loaded = dg.load_assets_from_package_module(assets)
    return {found.op.name: found for found in loaded if isinstance(found, dg.AssetsDefinition)}


def materialised(home: Home, *chosen: dg.AssetsDefinition | dg.AssetChecksDefinition) -> None:
    resources = {"vistag": VistagResource(home=str(home.root))}
    assert dg.materialize([*chosen], resources=resources).success


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the functions that match and make intervals were called, from wherever they were imported."""
    counted: Counter[str] = Counter()
    for function in (
        matching.match_regions,
        phrase_grounding.grounded_phrases,
        recall_at_k.pair_up,
        intervals.ratio_interval,
        comparison.compare_ranks,
        confusions.confusions,
    ):
        for module in [*sys.modules.values()]:
            if getattr(module, function.__name__, None) is function:
                monkeypatch.setattr(module, function.__name__, counting(function, counted))
    return counted


def counting(function: Callable[..., Any], counted: Counter[str]) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        counted[function.__name__] += 1
        return function(*arguments, **named)

    return wrapper


def test_one_run_measures_everything_once_and_the_report_nothing_again(
    home: Home, calls: Counter[str]
) -> None:
    before = evaluated(home)
    calls.clear()
    again = evaluated(home)  # this one has a baseline
    assert again == before
    options = len(again["ladder"])
    # the final tags, the same among the whole vocabulary, those of the embeddings, those of each option
    assert calls["pair_up"] == 3 + options
    once = {"match_regions": 1, "grounded_phrases": 1, "compare_ranks": 1, "confusions": 1}
    assert {name: calls[name] for name in once} == once
    assert calls["ratio_interval"] > options
    page = (home.reports_dir / "long_tail.html").read_text()
    calls.clear()
    materialised(home, assets_of_the_evaluation()["long_tail_report"])
    [check] = dg.load_asset_checks_from_package_module(assets)
    materialised(home, check)
    assert not calls
    assert len((home.reports_dir / "long_tail.html").read_text()) == len(page)


class _Recording:
    """A connection that remembers which tables its queries name."""

    def __init__(self, connection: Any, lake: Lake, read: set[str]) -> None:
        self._connection, self._tables, self._read = connection, lake.tables(), read

    def __enter__(self) -> "_Recording":
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        if name not in ("sql", "execute"):
            return method

        def noting(query: str, *arguments: Any, **named: Any) -> Any:
            self._read.update(table for table in self._tables if re.search(rf"(?<!\$)\b{table}\b", query))
            return method(query, *arguments, **named)

        return noting


def test_lineage_names_exactly_the_tables_that_an_asset_reads(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(home)
    read: set[str] = set()
    plain_read, connect = Lake.read, Lake.connect

    def noting_read(lake: Lake, table: str, *arguments: Any, **named: Any) -> Any:
        read.add(table)
        return plain_read(lake, table, *arguments, **named)

    monkeypatch.setattr(Lake, "read", noting_read)
    monkeypatch.setattr(Lake, "connect", lambda lake: _Recording(connect(lake), lake, read))
    for name, asset in assets_of_the_evaluation().items():
        read.clear()
        materialised(home, asset)
        own = {key.to_user_string() for key in asset.keys}
        named = {dep.asset_key.to_user_string() for spec in asset.specs for dep in spec.deps}
        # the bundled tier names no tagger
        assert read - own == named - {"tagger_scores"}, name


def test_figures_of_an_older_version_are_asked_for_anew_and_runs_compared(home: Home) -> None:
    evaluated(home)
    evaluated(home)
    lake, run = home.lake, history.runs(home.lake)[-1]
    stored = history.since_baseline(lake, run)
    lake.write(history.HISTORY, lake.read(history.HISTORY, run.run).replace_schema_metadata(), run.run)
    compared = history.since_baseline(lake, run)
    assert stored is not None
    assert compared is not None
    assert stored == replace(compared, tags=compared.changed_tags)
    unaccepted = replace(run, run=f"{run.run}-again", accepted_by=None)
    history.append(lake, unaccepted, history.ranks_of(lake, run.run), compared)
    history.accept(lake, unaccepted.run)  # which writes the partition again
    assert figures_of(lake.read(history.HISTORY, unaccepted.run), Comparison) == stored
    lake.write("ladder", lake.read("ladder").replace_schema_metadata())
    with pytest.raises(EvaluationError, match=r"ladder.*older version.*Evaluate again: vistag run"):
        stored_figures(lake, "ladder", int)


def test_figures_come_back_as_they_were_put_in(home: Home) -> None:
    evaluated(home)
    workspace = open_workspace(home)
    measured = compute.tags(workspace).figures
    for figures in (measured, compute.regions(home.lake), compute.texts(workspace)):
        rows = with_figures(home.lake.read("tag_recall"), type(figures), figures)
        assert figures_of(rows, type(figures)) == figures
