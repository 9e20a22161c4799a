"""The benchmark of the evaluation, in miniature."""

import json

import pytest

from benchmarks.evaluation.__main__ import HOTCOCO, LVIS_API, OURS, PEERS, TAGGING, main, refuse_other_recalls


@pytest.mark.slow
def test_all_peers_find_the_same_and_the_last_line_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--images", "40", "--tag-images", "300"])
    out, progress = capfd.readouterr()
    result = json.loads(out.splitlines()[-1])
    assert set(result) == {"peers", TAGGING, "ratio_to_lvis_api", "ratio_to_hotcoco"}
    peers = result["peers"]
    assert tuple(peers) == PEERS
    for name in (*PEERS, TAGGING):
        assert name in progress
    for figures in (*peers.values(), result[TAGGING]):
        assert 0 < figures["load_seconds"] < figures["seconds"]
        assert figures["peak_mib"] > 20
    expected = peers[LVIS_API]["recall"]
    assert {"0.5", "0.75", "0.5:0.95", "rare 0.5", "common 0.75"} <= expected.keys()
    assert 0 < expected["0.75"] < expected["0.5"] < 1
    for figures in peers.values():
        assert figures["recall"] == pytest.approx(expected, abs=1e-9)
    assert result["ratio_to_hotcoco"] == peers[OURS]["seconds"] / peers[HOTCOCO]["seconds"]
    assert 0 < result[TAGGING]["recall"]["tail 1"] < result[TAGGING]["recall"]["tail 20"] < 1


def test_peers_can_be_left_out_and_then_have_no_ratio(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--images", "5", "--skip", LVIS_API, "pycocotools", "faster-coco-eval", HOTCOCO, TAGGING])
    result = json.loads(capfd.readouterr().out)
    assert list(result) == ["peers"]
    assert list(result["peers"]) == [OURS]


def test_peers_that_differ_are_an_error() -> None:
    same = {"recall": {"0.5": 0.25}}
    refuse_other_recalls({"one": same, "two": same})
    with pytest.raises(SystemExit, match="two and one differ"):
        refuse_other_recalls({"one": same, "two": {"recall": {"0.5": 0.26}}})
    with pytest.raises(SystemExit, match="two and one differ"):
        refuse_other_recalls({"one": same, "two": {"recall": {}}})
