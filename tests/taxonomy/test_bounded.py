"""Files of strangers that grow, are holes, or unpack without end."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path

import pytest

from evaluation.readers import UnusableFile, read_truth
from taxonomy import TaxonomyError, load_taxonomy
from taxonomy.bounded import MAX_BYTES, UNPACKED_AT_LEAST, TooLargeError, read_bounded, unpacked


def test_a_file_is_read_as_long_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a" * 1000)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            for _ in range(4096):  # 16 MiB: reading is slower than this on a busy machine
                if stop.is_set():
                    return
                file.write(b"b" * 4096)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(50):
            assert len(read_bounded(path)) <= path.stat().st_size
    finally:
        stop.set()
        writer.join()
    assert read_bounded(path).startswith(b"a" * 1000)


@pytest.mark.parametrize(
    ("name", "read", "error"),
    [
        ("v.csv", load_taxonomy, TaxonomyError),
        ("v.ttl", load_taxonomy, TaxonomyError),
        ("v.rdf", load_taxonomy, TaxonomyError),
        ("t.json", read_truth, UnusableFile),
        ("t.csv", read_truth, UnusableFile),
    ],
)
def test_a_hole_of_terabytes_is_told_and_not_read(
    name: str, read: object, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text('{"images": [' if name.endswith("json") else "image,tag\n")
    os.truncate(path, MAX_BYTES * 64)
    with pytest.raises(error, match=rf"{name}.*has [\d,]+ bytes, more than"):
        read(path)  # type: ignore[operator]


def test_what_unpacks_to_a_thousand_times_its_size_is_told(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        for _ in range(UNPACKED_AT_LEAST // (1 << 20) + 1):
            file.write(bytes(1 << 20))
    with pytest.raises(TooLargeError, match="gunzip"):
        unpacked(packed.getvalue())
    path = tmp_path / "t.json.gz"
    path.write_bytes(packed.getvalue())
    with pytest.raises(UnusableFile, match=r"t\.json\.gz"):
        read_truth(path)
    with pytest.raises(OSError, match="damaged"):
        unpacked(gzip.compress(b"a" * 1000)[:-9])
    assert unpacked(gzip.compress(b"a" * 1000)) == b"a" * 1000
