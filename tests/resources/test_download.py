"""Files from published addresses: gone on with, bounded, held to their checksums; from a real server on loopback."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from publisher import Publisher, publishing

from resources.download import ATTEMPTS, Downloader, DownloadError, Unreachable

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).digest()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing(Publisher({"/a": CONTENT})) as found:
        yield found


def fetch(publisher: Publisher, to: Path, path: str = "/a", **more: object) -> str:
    options = {"most_bytes": 1 << 22, **more}
    fetched = Downloader(pause_s=0).fetch(f"{publisher.url}{path}", to, **options)  # type: ignore[arg-type]
    assert to.read_bytes() == publisher.files.get(path, CONTENT)
    assert sorted(file.name for file in to.parent.iterdir()) == [to.name], "nothing is left beside it"
    return fetched.checked


def test_what_broke_off_is_gone_on_with(publisher: Publisher, tmp_path: Path) -> None:
    publisher.breaks["/a"] = 700_000
    assert fetch(publisher, tmp_path / "a") == "md5"
    assert publisher.asked == [("/a", None), ("/a", "bytes=700000-")]


def test_another_file_of_that_name_begins_anew(publisher: Publisher, tmp_path: Path) -> None:
    publisher.breaks["/a"] = 700_000
    (tmp_path / "a.part").write_bytes(b"x" * 100)
    (tmp_path / "a.part-etag").write_text('"of-another"')
    fetch(publisher, tmp_path / "a")


def test_without_an_etag_a_part_is_not_believed(publisher: Publisher, tmp_path: Path) -> None:
    publisher.headers["/a"] = {}
    publisher.breaks["/a"] = 700_000
    assert fetch(publisher, tmp_path / "a") == ""
    assert publisher.asked == [("/a", None), ("/a", None)]


def test_a_server_that_is_busy_is_asked_again_and_one_that_stays_so_is_told(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.statuses["/a"] = [503, 429]
    fetch(publisher, tmp_path / "a")
    publisher.statuses["/b"] = [503] * ATTEMPTS
    with pytest.raises(Unreachable, match="the server says 503, 5 times"):
        fetch(publisher, tmp_path / "b", "/b")


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"' + "0" * 32 + '"'},
        {"x-goog-hash": "crc32c=AAAA,md5=" + base64.b64encode(bytes(16)).decode()},
        {"x-linked-etag": '"' + "0" * 64 + '"'},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_what_does_not_have_the_servers_checksum_is_thrown_away(
    publisher: Publisher, headers: dict[str, str], tmp_path: Path
) -> None:
    publisher.headers["/a"] = headers
    with pytest.raises(DownloadError, match="it was thrown away"):
        fetch(publisher, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_checksums_of_every_kind_are_read(publisher: Publisher, tmp_path: Path) -> None:
    publisher.headers["/a"] = {
        "ETag": '"abc-12"',  # S3's of several parts: no MD5
        "x-goog-hash": f"crc32c=AAAAAA==,md5={base64.b64encode(MD5).decode()}",
    }
    assert fetch(publisher, tmp_path / "a", sha256=hashlib.sha256(CONTENT).hexdigest()) == "md5, sha256"


def test_a_redirect_is_followed_with_the_checksum_that_came_with_it(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.redirects["/r"] = "/a"
    publisher.headers["/r"] = {"x-linked-etag": hashlib.sha256(CONTENT).hexdigest()}
    assert fetch(publisher, tmp_path / "r", "/r") == "md5, sha256"


@pytest.mark.parametrize("to", ["http://example.org/a", "file:///etc/passwd", "/loop"])
def test_a_redirect_that_leads_astray_is_not_followed(publisher: Publisher, to: str, tmp_path: Path) -> None:
    publisher.redirects |= {"/loop": to, "/a": "/loop"}
    with pytest.raises(DownloadError, match=r"not followed|more than 5 times"):
        fetch(publisher, tmp_path / "a")


def test_more_bytes_than_expected_are_refused_before_they_fill_the_disk(
    publisher: Publisher, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=re.escape("holds 1,280,000 bytes, more than the 1,000")):
        fetch(publisher, tmp_path / "a", most_bytes=1000)
    assert not (tmp_path / "a").exists()


def test_what_is_not_there_is_told_by_its_address(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"{publisher.url}/gone: the server says 404"):
        fetch(publisher, tmp_path / "gone", "/gone")


def test_nobody_there_is_told_by_the_address(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9/a: no connection"):
        Downloader(pause_s=0).fetch("http://127.0.0.1:9/a", tmp_path / "a", 10)
