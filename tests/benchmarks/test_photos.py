"""The benchmark of photographs: names from folders and WordNet ids, and its last line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import skimage

from benchmarks.photos import main, photographs, truth_of, vocabulary

DATA = Path(skimage.__file__).parent / "data"


def test_names_are_those_of_folders_or_wordnet_ids(tmp_path: Path) -> None:
    for name in ("n02123045_tabby.JPEG", "n02124075/1.jpg", "coffee_mug/a.png", "strange-thing/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [one.name for one in photographs(tmp_path)]
    assert names == ["coffee mug", "n02123045", "n02124075", "strange-thing"]
    known = vocabulary(names)
    assert len(vocabulary([]).concepts) == 1896
    assert len(known.concepts) == 1897
    assert truth_of("n02123045", known).own == {"n02123045"}
    assert {"cat", "animals"} & truth_of("n02123045", known).kinds
    assert truth_of("coffee mug", known).own == {"n03063599"}
    assert truth_of("strange-thing", known).own == {"folder-strange-thing"}
    with pytest.raises(SystemExit, match="no photographs"):
        photographs(tmp_path / "n02124075" / "nothing")


@pytest.mark.slow
def test_it_ends_with_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, picture in {
        "Egyptian cat": "chelsea.png",
        "espresso": "coffee.png",
        "tripod": "camera.png",
    }.items():
        (tmp_path / folder).mkdir()
        shutil.copy(DATA / picture, tmp_path / folder)
    main([str(tmp_path)])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["images"] == 3
    assert figures["recall@1"] == figures["recall@5"] == figures["recall@10"] == 1
    assert figures["unfamiliar_share"] == 0
    assert 0 <= figures["ece"] < 1
