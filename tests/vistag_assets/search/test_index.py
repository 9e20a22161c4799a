"""An index follows its table, is replaced in one step, and is made anew where it is damaged."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import services
import vectors_table
from vectors_table import VectorsTable, folder, update, vectors

from vistag_assets.search import segment as segments
from vistag_assets.search.index import INDEX, Index, load_index, remove_folders
from vistag_assets.search.segment import CODES, ROWS, VECTORS, DamagedIndex


def found(index: Index, seed: int, most: int = 5) -> list[tuple[str, str, float]]:
    """(folder, id, score) of what is nearest to the vector of a seed, over all segments."""
    query = vectors([seed]).astype(np.float32)[0]
    hits = []
    for part, alive in zip(index.segments, index.alive, strict=True):
        rows, scores = part.nearest(query, most, alive)
        names = part.rows.take(pa.array(rows)).to_pylist()
        hits += [(of["folder"], of["id"], round(float(s), 2)) for of, s in zip(names, scores, strict=True)]
    return sorted(hits, key=lambda hit: (-hit[2], hit[0], hit[1]))[:most]


def names(index: Index) -> set[tuple[str, str]]:
    rows = [part.rows.to_pylist() for part in index.segments]
    dead = index.dead
    return {
        (of["folder"], of["id"])
        for part, gone in zip(rows, dead, strict=True)
        for row, of in enumerate(part)
        if row not in gone
    }


def test_it_holds_what_the_table_holds_and_reads_what_changed(tmp_path: Path) -> None:
    table = VectorsTable({"a": folder(0, 40), "b": folder(100, 40)})
    first = update(tmp_path, table)
    assert (first.kept, first.added, first.dropped) == (0, 80, 0)
    assert found(first.index, 7)[0] == ("a", f"{7:032x}", 1.0)

    table.was_read.clear()
    again = update(tmp_path, table)
    assert (again.kept, again.added, again.dropped) == (80, 0, 0)
    assert table.was_read == []
    assert again.index.version == first.index.version

    table.folders["b"] = folder(100, 39) | {f"{139:032x}": 900} | folder(200, 1)
    changed = update(tmp_path, table)
    assert (changed.kept, changed.added, changed.dropped) == (79, 2, 1)
    assert set(table.was_read) == {"b"}
    assert found(changed.index, 900)[0] == ("b", f"{139:032x}", 1.0)
    assert found(changed.index, 139)[0][2] < 0.9  # the vector that it had is no more

    del table.folders["a"]
    assert names(update(tmp_path, table).index) == {("b", id_) for id_ in table.folders["b"]}


def test_small_additions_leave_few_segments_and_write_little(tmp_path: Path) -> None:
    table, written = VectorsTable({}), 0
    for number in range(64):
        table.folders[f"f{number:02}"] = folder(1000 * number, 3)
        updated = update(tmp_path, table)
        written += updated.added + updated.rewritten
    assert updated.index.count == 192
    assert len(updated.index.segments) <= 7
    assert written <= 192 * 8  # once for every doubling
    assert sum(path.is_dir() for path in (tmp_path / "index").iterdir()) == len(updated.index.segments)


def test_what_a_reader_has_open_stays_while_others_are_made(tmp_path: Path) -> None:
    table = VectorsTable({"a": folder(0, 40)})
    update(tmp_path, table)
    index = load_index(tmp_path / "index")
    assert index is not None
    table.folders = {"b": folder(500, 60)}
    update(tmp_path, table)
    assert found(index, 7)[0] == ("a", f"{7:032x}", 1.0)


def test_an_index_of_another_encoder_is_made_anew(tmp_path: Path) -> None:
    update(tmp_path, VectorsTable({"a": folder(0, 9)}))
    other = update(tmp_path, VectorsTable({"a": folder(0, 9)}, "second"))
    assert (other.kept, other.added) == (0, 9)
    assert other.index.made_by.name == "second"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink], ids=["cut", "flipped", "gone"])
@pytest.mark.parametrize("name", [INDEX, ROWS, VECTORS, CODES])
def test_a_damaged_index_is_told_moved_away_and_made_anew(
    name: str, harm: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == CODES:
        monkeypatch.setattr(segments, "EXACT_BELOW", 100)
        if harm is flip:
            pytest.skip("a flipped bit of codes proposes other rows; the vectors decide")
    table = VectorsTable({"a": folder(0, 400)})
    update(tmp_path, table)
    (path,) = (tmp_path / "index").rglob(name)
    harm(path)
    if (name, harm) == (INDEX, Path.unlink):
        assert load_index(tmp_path / "index") is None
    else:
        with pytest.raises(DamagedIndex, match="index"):
            load_index(tmp_path / "index")
    anew = update(tmp_path, table)
    assert anew.added == 400
    assert found(anew.index, 7)[0] == ("a", f"{7:032x}", 1.0)
    assert (anew.quarantined is None) == (name == INDEX and harm is Path.unlink)
    assert anew.quarantined is None or any(anew.quarantined.iterdir())


def test_forgotten_folders_leave_nothing_on_the_disk(tmp_path: Path) -> None:
    table = VectorsTable({"a": folder(0, 30), "b": folder(100, 30), "c": folder(300, 400)})
    update(tmp_path, table)
    remove_folders(tmp_path / "index", ["b"])
    index = load_index(tmp_path / "index")
    assert index is not None
    assert {key for key, _ in names(index)} == {"a", "c"}
    content = b"".join(path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file())
    assert vectors([100]).tobytes() not in content
    assert vectors([0]).tobytes() in content


def test_codes_find_what_an_exact_scan_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "EXACT_BELOW", 1000)
    index = update(tmp_path, VectorsTable({"a": folder(0, 4000)})).index
    (part,) = index.segments
    assert not part.is_exact
    stored = np.asarray(part.vectors, np.float32)
    few = np.random.default_rng(0).random(4000) < 0.01
    right = filtered = 0
    for query in stored[::100]:
        exact = set(np.argsort(-(stored @ query))[:10].tolist())
        right += len(exact & set(part.nearest(query, 10)[0].tolist()))
        rows, scores = part.nearest(query, 10, few)
        allowed = np.flatnonzero(few)
        best = allowed[np.argsort(-(stored[allowed] @ query))[:10]]
        filtered += len(set(best.tolist()) & set(rows.tolist()))
        assert few[rows].all()
        assert np.allclose(scores, stored[rows] @ query, atol=1e-5)
    assert right >= 0.85 * 400  # of noise, which has no clusters
    assert filtered >= 0.98 * 400


@pytest.mark.gpu
def test_a_card_finds_what_the_processor_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = pytest.importorskip("faiss")
    if not faiss.get_num_gpus():
        pytest.skip("no GPU, or faiss-cpu")
    monkeypatch.setattr(segments, "EXACT_BELOW", 1000)
    update(tmp_path, VectorsTable({"a": folder(0, 4000)}))
    on_card, on_processor = (load_index(tmp_path / "index", on_card=each) for each in (True, False))
    assert on_card is not None
    assert on_processor is not None
    assert on_card.segments[0].codes.card is not None
    same = [found(on_card, seed) == found(on_processor, seed) for seed in range(0, 4000, 100)]
    assert np.mean(same) >= 0.95  # at a tie of codes another row may be proposed


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_the_old_index_in_use(tmp_path: Path) -> None:
    first = VectorsTable({"a": folder(0, 30)})
    before = names(update(tmp_path, first).index)
    after = before | {("b", f"{number:032x}") for number in range(300, 700)}
    deaths = 0
    for moment in range(1, 1000):
        root = tmp_path / f"{moment}"
        shutil.copytree(tmp_path / "index", root / "index")
        command = [sys.executable, vectors_table.__file__, root, str(moment)]
        ended = subprocess.run(command, env=services.environment(), check=False).returncode
        index = load_index(root / "index")
        assert index is not None
        if ended == 0:
            assert names(index) == after
            break
        assert ended == -signal.SIGKILL
        deaths += 1
        assert names(index) in (before, after)
        whole = update(root, VectorsTable({"a": folder(0, 30), "b": folder(300, 400)})).index
        assert names(whole) == after
        left = {path.name for path in (root / "index").iterdir() if path.is_dir()}
        assert left == {part.directory.name for part in whole.segments}
    assert deaths > 10
