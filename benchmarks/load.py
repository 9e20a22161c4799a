"""More questions than `vistag app` takes: python -m benchmarks.load --home HOME --kind caption --times 4.

As many clients as are answered together and may wait, times four, each asking again and again about pictures of the
home; who is asked to wait does so. The home is one that a tier with models has tagged, as `make demo` leaves it.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from benchmarks.decisions import HOST, served
from resources.home import Home
from vistag_assets.app.endpoints import AT_ONCE, WAITING

_IMAGES = 16


def images_of(home: Home) -> list[bytes]:
    """The files of some pictures of the home."""
    files: list[bytes] = []
    for key in home.lake.folders("images"):
        root = Path(home.folder(key).root)
        paths = home.lake.read("images", key, ["path"])["path"].to_pylist()
        files += [(root / path).read_bytes() for path in paths[: _IMAGES - len(files)]]
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--kind", default="caption")
    parser.add_argument(
        "--times", type=int, default=4, help="as many clients as the application takes, times this"
    )
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    home = Home.resolve(options.home)
    files = images_of(home)
    clients = options.times * (AT_ONCE + WAITING)
    statuses: Counter[int] = Counter()
    waited_s: list[float] = []
    with served(home.root) as server:
        _ask(server.port, options.kind, files[0])  # loads the models
        end = time.monotonic() + options.seconds

        def client(number: int) -> None:
            while time.monotonic() < end:
                began = time.perf_counter()
                status, again_s = _ask(server.port, options.kind, files[number % len(files)])
                statuses[status] += 1
                if status == 200:
                    waited_s.append(time.perf_counter() - began)
                time.sleep(again_s)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    told = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    median, p99 = np.percentile(waited_s, [50, 99])
    print(
        f"{clients} clients for {options.seconds:.0f} s, /{options.kind}: {told}; accepted ones took {median:.1f} s "
        f"(median), {p99:.1f} s (p99)"
    )
    if set(statuses) - {200, 429}:
        raise SystemExit(1)


def _ask(port: int, kind: str, content: bytes) -> tuple[int, float]:
    """The status, and how many seconds to wait before asking again."""
    connection = HTTPConnection(HOST, port, timeout=600)
    try:
        connection.request("POST", f"/{kind}", content, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, float(answer.headers.get("Retry-After", 0))
    finally:
        connection.close()


if __name__ == "__main__":
    main()
