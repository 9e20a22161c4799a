"""`python -m benchmarks.evaluation`: the workload through every peer, one after another; ends with one JSON line."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

OURS, LVIS_API, HOTCOCO, TAGGING = "vistag", "lvis-api", "hotcoco", "tagging"
PEERS = (HOTCOCO, OURS, "faster-coco-eval", "pycocotools", LVIS_API)
LVIS_IMAGES = 5_000
TAG_IMAGES = 100_000
SAME_RECALL = 1e-9

_WRITE = (
    "from pathlib import Path; from benchmarks.evaluation.workload import {0}; {0}(Path({1!r}), {2}, {3})"
)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    peers = [name for name in PEERS if name not in options.skip]
    with tempfile.TemporaryDirectory() as folder:
        _say(f"{options.images} images; the fastest of {options.runs} run(s) of each peer counts")
        _child("-c", _WRITE.format("write_regions", folder, options.images, options.seed))
        found = {name: _best_run(name, folder, options.runs) for name in peers}
        result: dict[str, Any] = {"peers": found}
        if TAGGING not in options.skip:
            _child("-c", _WRITE.format("write_tags", folder, options.tag_images, options.seed))
            result[TAGGING] = _best_run(TAGGING, folder, options.runs)
    refuse_other_recalls(found)
    if OURS in found and LVIS_API in found:
        result["ratio_to_lvis_api"] = found[LVIS_API]["seconds"] / found[OURS]["seconds"]
    if OURS in found and HOTCOCO in found:
        result["ratio_to_hotcoco"] = found[OURS]["seconds"] / found[HOTCOCO]["seconds"]
    print(json.dumps(result))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument(
        "--images", type=int, default=LVIS_IMAGES, help="of the regions (default %(default)s)"
    )
    parser.add_argument(
        "--tag-images", type=int, default=TAG_IMAGES, help="of the tags (default %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=1, help="of each peer; the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", nargs="+", default=[], choices=[*PEERS, TAGGING], metavar="PEER")
    return parser.parse_args(arguments)


def _best_run(name: str, folder: str, runs: int) -> dict[str, Any]:
    figures = [
        json.loads(_child("-m", "benchmarks.evaluation.child", name.replace("-", "_"), folder))
        for _ in range(runs)
    ]
    best: dict[str, Any] = min(figures, key=lambda run: run["seconds"])
    _say(
        f"{name:>16}: {best['seconds']:8.2f} s, {best['load_seconds']:.2f} s of them loading; "
        f"{best['cpu_seconds']:.2f} s of all cores; {best['peak_mib']:.0f} MiB"
    )
    return best


def _child(*arguments: str) -> str:
    """What a Python process prints; its messages are shown if it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\npython {' '.join(arguments)} failed")
    return done.stdout


def refuse_other_recalls(found: dict[str, dict[str, Any]]) -> None:
    """All peers must have found the same, or the times compare nothing."""
    first, *others = found
    expected = found[first]["recall"]
    for name in others:
        recall = found[name]["recall"]
        if recall.keys() != expected.keys() or any(
            abs(recall[key] - expected[key]) > SAME_RECALL for key in expected
        ):
            raise SystemExit(f"{name} and {first} differ: {recall} and {expected}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
