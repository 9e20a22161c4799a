import pyarrow as pa
import pytest

from evaluation.metrics.bands import band_size, frequency_bands


def truth_of(images_by_tag: dict[str, int]) -> pa.Table:
    rows = [
        {"id": f"i{n}", "concept_id": tag} for tag, images in images_by_tag.items() for n in range(images)
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([("id", pa.string()), ("concept_id", pa.string())]))


def test_worked_example_ten_tags_and_one_without_support() -> None:
    support = {
        "vase": 9,
        "bowl": 7,
        "coin": 7,
        "mask": 5,
        "lyre": 4,
        "ring": 3,
        "comb": 2,
        "harp": 2,
        "sled": 1,
        "urn": 1,
    }
    bands = frequency_bands(truth_of(support), [*support, "yoke"])
    assert list(
        zip(*(bands[c].to_pylist() for c in ("concept_id", "band", "images", "rank")), strict=True)
    ) == [
        ("vase", "head", 9, 1),
        ("bowl", "body", 7, 2),  # before coin: equal counts go by concept id
        ("coin", "body", 7, 3),
        ("mask", "tail", 5, 4),
        ("lyre", "tail", 4, 5),
        ("ring", "tail", 3, 6),
        ("comb", "tail", 2, 7),
        ("harp", "tail", 2, 8),
        ("sled", "tail", 1, 9),
        ("urn", "tail", 1, 10),
        ("yoke", "zero", 0, 11),
    ]


def test_lvis_edges_are_inclusive() -> None:
    bands = frequency_bands(
        truth_of({"a": 101, "b": 100, "c": 11, "d": 10, "e": 1}), ["a", "b", "c", "d", "e", "f"]
    )
    assert bands["lvis_band"].to_pylist() == ["frequent", "common", "common", "rare", "rare", "zero"]


def test_lvis_bands_that_the_truth_brings_along_go_before_counting() -> None:
    bands = frequency_bands(
        truth_of({"a": 3, "b": 2, "c": 1}), ["a", "b", "c", "d"], lvis_bands={"a": "frequent", "d": "rare"}
    )
    assert bands["lvis_band"].to_pylist() == ["frequent", "rare", "rare", "zero"]
    with pytest.raises(ValueError, match="'f'"):
        frequency_bands(truth_of({"a": 1}), ["a"], lvis_bands={"a": "f"})


@pytest.mark.parametrize(
    ("tags", "expected"), [(1, "h"), (2, "hb"), (3, "hbt"), (11, "hhbbbtttttt"), (0, "")]
)
def test_shares_are_rounded_up_and_never_exceed_the_tags(tags: int, expected: str) -> None:
    names = [f"t{n:02}" for n in range(tags)]
    bands = frequency_bands(truth_of(dict.fromkeys(names, 1)), names)
    assert "".join(band[0] for band in bands["band"].to_pylist()) == expected


def test_shares_are_counted_in_decimals() -> None:
    assert 0.07 * 100 > 7
    assert band_size(0.07, 100) == 7


def test_repeated_truth_rows_count_once() -> None:
    truth = truth_of({"a": 2})
    bands = frequency_bands(pa.concat_tables([truth, truth]), ["a"])
    assert bands["images"].to_pylist() == [2]


def test_truth_outside_the_vocabulary_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="spinet"):
        frequency_bands(truth_of({"vase": 1, "spinet": 1}), ["vase"])


def test_repeated_concepts_and_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="vase"):
        frequency_bands(truth_of({"vase": 1}), ["vase", "vase"])
    with pytest.raises(ValueError, match="add up"):
        frequency_bands(truth_of({"vase": 1}), ["vase"], head_share=0.7, body_share=0.4)


def test_how_common_a_tag_is_may_be_known_otherwise_than_by_the_truth() -> None:
    truth = pa.table({"id": ["1", "2", "3", "1"], "concept_id": ["a", "a", "a", "b"]})
    rows = frequency_bands(truth, ["a", "b", "c"], frequency={"a": 4.0, "b": 500.5, "c": 9.0}).to_pylist()
    assert [(row["concept_id"], row["images"], row["lvis_band"]) for row in rows] == [
        ("b", 1, "frequent"),
        ("a", 3, "rare"),
        ("c", 0, "zero"),
    ]
