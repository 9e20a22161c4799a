"""Decoding in processes of their own: what a file can do to a decoder ends as its own reject."""

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import image_zoo as zoo
import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from resources.images import (
    Decoded,
    Limits,
    Reject,
    budget,
    decode_isolated,
    decode_to_proxy,
    ingest_folder,
    isolated,
)
from resources.images.budget import BYTES_A_PIXEL, SPARE_BYTES, PixelBudget, affordable, memory_bytes

ROOT = Path(__file__).parents[3]
LIMITS = Limits()


def endless_tiff(pages: int = 30_000) -> bytes:
    """Some megabytes that promise that many pages; counting them takes time in the square of their number."""
    one = zoo.encoded(Image.new("L", (8, 8)), "TIFF")
    (start,) = struct.unpack("<I", one[4:8])
    (count,) = struct.unpack("<H", one[start : start + 2])
    directory = one[start : start + 2 + 12 * count]
    places = [start + number * (len(directory) + 4) for number in range(1, pages)]
    return one[:start] + b"".join(directory + struct.pack("<I", place) for place in [*places, 0])


def isolated_decode(content: bytes, limits: Limits = LIMITS) -> Decoded:
    return decode_isolated(io.BytesIO(content), limits)


def rejected(content: bytes, limits: Limits = LIMITS) -> Reject:
    with pytest.raises(Reject) as caught:
        isolated_decode(content, limits)
    return caught.value


def decoders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "images.child" in " ".join(child.cmdline())]


@pytest.fixture
def no_decoder() -> Iterator[None]:
    """Starts, and ends, without a process that decodes."""
    isolated.close_all()
    yield
    isolated.close_all()


@contextmanager
def struck(number: signal.Signals) -> Iterator[None]:
    """Meanwhile, the first decoder that is at work for a while gets a signal, as from a fault of its own."""

    def strike() -> None:
        while not (busy := [process for process in decoders() if sum(process.cpu_times()[:2]) > 3]):
            time.sleep(0.02)
        busy[0].send_signal(number)

    thread = threading.Thread(target=strike)
    thread.start()
    yield
    thread.join()


def test_every_kind_of_file_ends_as_it_does_in_one_process() -> None:
    for name, (content, _, _) in zoo.usable().items():
        here, there = decode_to_proxy(io.BytesIO(content), LIMITS), isolated_decode(content)
        assert here.image.tobytes() == there.image.tobytes(), name
        facts = {field: getattr(here, field) for field in Decoded.__slots__ if field != "image"}
        assert facts == {field: getattr(there, field) for field in facts}, name
    for name, (content, code) in zoo.unusable().items():
        if not name.endswith(".NEF"):  # that one is known by its name
            assert rejected(content).code == code, name


def test_a_large_file_is_read_through_its_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(zoo.usable()["pages.tif"][0])
    with (tmp_path / "a.tif").open("rb") as file:
        assert decode_isolated(file, LIMITS).frames == 3


def test_a_file_that_takes_too_long_is_rejected_and_the_next_is_decoded(tmp_path: Path) -> None:
    library = tmp_path / "library"
    zoo.write(library, {"endless.tif": endless_tiff(), "sound.png": zoo.encoded(zoo.picture(), "PNG")})

    def ingest(limits: Limits, *known: object) -> tuple[list[str], list[str], tuple[object, ...]]:
        done = ingest_folder(library, library, tmp_path / "home", limits, *known)
        codes = [row["code"] for row in done.rejects.to_pylist()]
        return done.images["path"].to_pylist(), codes, (done.images, done.rejects, done.proxies)

    images, codes, known = ingest(Limits(max_decode_s=0.3))
    assert (images, codes) == (["sound.png"], ["too_slow"])
    reason = known[1]["reason"][0].as_py()
    assert "0.3 seconds" in reason
    assert "max_decode_s" in reason
    # Under the same limit it is not tried again, which its being quick shows to nobody: no process is at it.
    isolated.close_all()
    assert ingest(Limits(max_decode_s=0.3), *known)[:2] == (images, codes)
    assert decoders() == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGSEGV, "decoder_crashed"),
        (signal.SIGABRT, "decoder_crashed"),
        (signal.SIGKILL, "out_of_memory"),
    ],
)
@pytest.mark.usefixtures("no_decoder")
def test_a_decoder_that_dies_costs_its_file(number: signal.Signals, code: str) -> None:
    with struck(number):
        reject = rejected(endless_tiff(100_000))
    assert reject.code == code
    assert reject.reason.count(". ") >= 1, "says what is wrong, and what to do"
    assert isolated_decode(zoo.encoded(zoo.picture(), "PNG")).format == "PNG"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the memory of a process")
@pytest.mark.usefixtures("no_decoder")
def test_a_decoder_holds_no_more_memory_than_the_limits_say() -> None:
    """A WebP of 1 kB whose canvas is reserved before its size can be checked: 170 megapixels of 8 bytes."""
    content = bytearray(
        zoo.encoded(zoo.picture(16, 16), "WEBP", save_all=True, append_images=[zoo.picture(16, 16, 1)])
    )
    canvas = content.index(b"VP8X") + 12
    content[canvas : canvas + 6] = (13_000 - 1).to_bytes(3, "little") * 2
    assert rejected(bytes(content), Limits(max_megapixels=1)).code in {
        "out_of_memory",
        "damaged",
        "too_large",
    }
    assert isolated_decode(zoo.encoded(zoo.picture(), "PNG")).format == "PNG"


def tiled(compression: str, tile_px: int) -> bytes:
    """A sound TIFF of 64 x 64 pixels in one tile, which then says that it is larger."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(zoo.picture(64, 64)), tile=(64, 64), compression=compression)
    content = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        for name in ("TileWidth", "TileLength"):
            tag = tiff.pages[0].tags[name]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", content, tag.valueoffset, tile_px)
    return bytes(content)


@pytest.mark.parametrize("compression", ["deflate", "jpegxl"])  # which Pillow reads, and tifffile
def test_a_tile_counts_whole_however_little_of_it_is_seen(compression: str) -> None:
    assert isolated_decode(tiled(compression, 64)).notes == (
        ("second_decoder",) if compression == "jpegxl" else ()
    )
    reject = rejected(tiled(compression, 26_000))
    assert reject.code == "too_large"
    assert "megapixels would have to be held in memory" in reject.reason
    assert "max_megapixels" in reject.reason


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the memory of a process")
def test_a_tile_of_a_tile_that_is_larger_than_both_say_is_bounded_by_the_system() -> None:
    """A JPEG of 30,000 x 30,000 in a tile of 64 x 64: only its decoder knows."""
    content = bytearray(tiled("jpeg", 64))
    start = content.rindex(b"\xff\xc0")
    struct.pack_into(">HH", content, start + 5, 30_000, 30_000)
    reject = rejected(bytes(content))
    assert reject.code == "too_large"
    assert "MiB" in reject.reason


@pytest.mark.slow
def test_a_sound_picture_that_takes_more_than_it_said_gets_all_there_is() -> None:
    """An animated WebP of 9,000 x 9,000 pixels, whose decoder takes 8 bytes for each before it tells of them."""
    frames = [Image.new("RGB", (9_000, 9_000), colour) for colour in ("red", "blue")]
    content = zoo.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], method=0)
    assert isolated_decode(content).source_width_px == 9_000


@pytest.mark.parametrize("gib", [1, 2, 4, 8, 64])
@pytest.mark.parametrize("cores", [1, 2, 16, 128])
def test_the_bounds_of_all_processes_fit_the_memory_there_is(gib: int, cores: int) -> None:
    memory = gib << 30
    pixels, workers = affordable(LIMITS.max_pixels, cores, memory)
    assert 1 <= workers <= cores
    assert 1_000_000 <= pixels <= LIMITS.max_pixels
    assert workers * SPARE_BYTES + BYTES_A_PIXEL * pixels <= memory
    assert (workers, pixels) == (cores, LIMITS.max_pixels) or gib < 64 or cores > 16


def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the group that this process is in, or of one above it."""
    assert 0 < memory_bytes() <= psutil.virtual_memory().total
    lines = Path("/proc/self/cgroup")
    if not lines.exists():
        pytest.skip("no control groups here")
    kind, group = lines.read_text().splitlines()[-1].split(":", 2)[1:]
    folder = Path(f"{tmp_path}{group}")
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(budget, "CGROUPS", {kind: (str(tmp_path), "limit")})
    (tmp_path / "limit").write_text("max\n")
    assert memory_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (tmp_path / "limit").write_text("300000\n")
    assert memory_bytes() == 300_000


@pytest.mark.usefixtures("no_decoder")
def test_a_decoder_has_no_secrets_and_writes_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISTAG_VLM_API_KEY", "secret")
    isolated_decode(zoo.encoded(zoo.picture(), "PNG"))
    (process,) = decoders()
    assert "secret" not in process.environ().values()
    assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)


@pytest.mark.usefixtures("no_decoder")
def test_processes_are_kept_one_for_each_thread_and_a_lost_one_is_replaced() -> None:
    contents = [zoo.encoded(zoo.picture(seed=seed), "PNG") for seed in range(12)]
    budget = PixelBudget(LIMITS.max_pixels)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda content: decode_isolated(io.BytesIO(content), LIMITS, budget), contents))
    kept = decoders()
    assert 1 <= len(kept) <= 2
    for process in kept:
        process.kill()
        process.wait()
    assert isolated_decode(contents[0]).format == "PNG"


MODULE_IN_THE_WAY = "raise SystemExit('code of the folder that vistag is run in')"


@pytest.mark.usefixtures("no_decoder")
def test_nothing_is_imported_from_the_folder_that_vistag_is_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.write(tmp_path, {f"{name}.py": MODULE_IN_THE_WAY.encode() for name in ("resources", "PIL", "json")})
    monkeypatch.chdir(tmp_path)
    assert isolated_decode(zoo.encoded(zoo.picture(), "PNG")).format == "PNG"


BROKEN = """
import io, sys
from resources.images import Limits, Reject, decode_isolated
try:
    decode_isolated(io.BytesIO(sys.stdin.buffer.read()), Limits())
except Reject as reject:
    print(reject.code)
"""


def test_what_a_library_in_c_says_of_a_broken_file_is_not_printed() -> None:
    sound = bytearray(zoo.usable()["lzw.tiff"][0])
    sound[8:24] = bytes(16)  # behind the header: the compressed pixels
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], cwd=ROOT, input=sound, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"damaged\n", b"")


ENDLESS = """
import io, sys
from pathlib import Path
from resources.images import Limits, decode_isolated
decode_isolated(io.BytesIO(Path(sys.argv[1]).read_bytes()), Limits(max_decode_s=2))
"""


def test_a_decoder_does_not_outlive_who_it_works_for_by_more_than_its_limit(tmp_path: Path) -> None:
    (tmp_path / "endless.tif").write_bytes(endless_tiff(100_000))
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "endless.tif")]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as parent:
        while not (children := psutil.Process(parent.pid).children()):
            time.sleep(0.02)
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
