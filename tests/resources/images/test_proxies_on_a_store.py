"""Proxies beside a lake on a store: for all who work on it, with a copy in the home of who made or read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from s3_server import BUCKET, Server, running_server

from resources.home import Home, Settings, write_settings
from resources.images import open_proxy, prune_proxies, shared_proxies
from resources.images.proxies import encode_proxy, proxies_there, proxy_is, proxy_path, save_proxy

PATH = proxy_path("ab" * 16, "cd" * 8)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as environment, running_server(environment) as server:
        yield server


@pytest.fixture
def homes(server: Server, tmp_path: Path) -> tuple[Home, Home]:
    """Two of one lake, as two machines have them; each knows only its own disk and the store."""
    made = Home(tmp_path / "one"), Home(tmp_path / "other")
    for home in made:
        write_settings(home, Settings(lake=f"s3://{BUCKET}/{tmp_path.name}"))
    return made


def jpeg(colour: str) -> bytes:
    return encode_proxy(Image.new("RGB", (8, 6), colour))


def test_what_one_machine_made_the_other_reads_and_keeps(homes: tuple[Home, Home]) -> None:
    one, other = homes
    save_proxy(one.root, PATH, jpeg("red"))
    on_store = shared_proxies(one) or {}
    assert list(on_store) == [str(PATH)]
    assert proxy_is(other.root, PATH, jpeg("red"))
    assert not proxy_is(other.root, PATH, jpeg("blue"))
    assert open_proxy(other.root, str(PATH)).size == (8, 6)
    assert (other.root / PATH).read_bytes() == jpeg("red")
    on_store[str(PATH)].unlink()
    assert open_proxy(other.root, str(PATH)).size == (8, 6), "from its own disk"


def test_a_home_of_before_puts_its_proxies_beside_the_lake(homes: tuple[Home, Home]) -> None:
    one, other = homes
    gone = str(proxy_path("ef" * 16, "cd" * 8))
    (one.root / PATH).parent.mkdir(parents=True)
    (one.root / PATH).write_bytes(jpeg("red"))
    with pytest.raises(FileNotFoundError, match="materialise images and proxies of its folder again"):
        open_proxy(other.root, str(PATH))
    assert proxies_there(one.root, [str(PATH), gone]) == {str(PATH)}
    assert list(shared_proxies(one) or ()) == [str(PATH)]
    assert proxies_there(other.root, [str(PATH), gone]) == {str(PATH)}
    assert not (other.root / PATH).exists(), "asked for, not fetched"


def test_pruning_takes_what_no_row_names_from_the_store_too(homes: tuple[Home, Home]) -> None:
    one, _ = homes
    kept = proxy_path("ef" * 16, "cd" * 8)
    for path in (PATH, kept):
        save_proxy(one.root, path, jpeg("red"))
        os.utime(one.root / path, (0, 0))
    assert prune_proxies(one.root, [str(kept)]) == 0, (
        "what is young may be of a run that has yet to write its rows"
    )
    assert prune_proxies(one.root, [str(kept)], grace_s=-10) == 1
    assert list(shared_proxies(one) or ()) == [str(kept)]
    assert not (one.root / PATH).exists()
    assert (one.root / kept).exists()


def test_a_home_with_its_lake_on_its_disk_asks_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    home = Home(tmp_path)
    save_proxy(home.root, PATH, jpeg("red"))
    assert (home.root / PATH).read_bytes() == jpeg("red")
    assert shared_proxies(home) is None
    assert proxies_there(home.root, [str(PATH), "proxies/x"]) == {str(PATH)}
    with pytest.raises(ValueError, match="is no path below"):
        open_proxy(home.root, "../x.jpg")
