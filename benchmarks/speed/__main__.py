"""`make bench`: our speed beside the bare model's and beside other ways, by turns in one run; ends with one JSON line."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.measuring import Cost, cost_of
from benchmarks.scale import run_vistag
from benchmarks.speed import workload
from resources.home import Home, Settings, write_settings

ENCODERS = {
    "CLIP ViT-B/32": ("clip", workload.save_clip),
    "SigLIP 2 B/16-256": ("siglip", workload.save_siglip2),
}
LARGE, MIDDLING, SMALL = workload.SIZES_PX
_CLIP_RETRIEVAL = str(Path(__file__).with_name("by_clip_retrieval.py"))
_FIFTYONE = "FiftyOne is not measured: its compute_embeddings needs a MongoDB, which is not to be had here."


@dataclass(frozen=True, slots=True)
class Whole:
    """A program over many files, and over one, which is what its start costs."""

    many: Cost
    one: Cost
    images: int

    @property
    def images_per_second(self) -> float:
        """Without the start."""
        return (self.images - 1) / max(1e-9, self.many.seconds - self.one.seconds)

    @property
    def processor_s(self) -> float:
        """An image, without the start."""
        return (self.many.processor_seconds - self.one.processor_seconds) / (self.images - 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark: where its files are, and how often it measures."""

    root: Path
    rounds: int
    taxonomy: str | None
    peer: Path | None
    """the Python that has clip-retrieval"""

    def folder(self, size: str, count: int, name: str = "") -> Path:
        """So many pictures of a size, others for each name."""
        folder = self.root / "pictures" / f"{size} {count} {name}".strip().replace(" ", "-")
        if not folder.is_dir():
            workload.write_jpegs(folder, workload.SIZES_PX[size], count, crc32(folder.name.encode()))
        return folder

    def child(self, name: str, family: str, checkpoint: Path, folder: Path) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.speed.child", name, family, str(checkpoint), str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def home(self, family: str, checkpoint: Path) -> Home:
        """A home whose tier has this encoder and no other model, and whose vocabulary is embedded."""
        encoder = {
            "family": family,
            "model": str(checkpoint),
            "batch_size": 32,
            "licence": "own",
            "dtype": "float32",
        }
        tier = self.root / f"{checkpoint.name}.yaml"
        tier.write_text(
            json.dumps({"description": "bench", "device": "cpu", "encoder": encoder})
        )  # JSON is YAML
        home = Home(self.root / f"home-{checkpoint.name}")
        write_settings(home, Settings(tier=str(tier), taxonomy=self.taxonomy))
        _say("embedding the vocabulary, which is not measured")
        run_vistag(home, self.folder(SMALL, 1, "vocabulary"))
        return home

    def vistag(self, home: Home, size: str, count: int, turn: int) -> Whole:
        """`vistag run` over new files, in the home as it is."""
        one, many = (self.folder(size, n, f"turn {turn}") for n in (1, count))
        return Whole(many=run_vistag(home, many), one=run_vistag(home, one), images=count)

    def clip_retrieval(self, checkpoint: Path, size: str, count: int) -> Whole:
        def cost(n: int) -> Cost:
            with tempfile.TemporaryDirectory() as out:
                return cost_of(
                    [str(self.peer), _CLIP_RETRIEVAL, str(self.folder(size, n)), out, str(checkpoint)]
                )

        return Whole(many=cost(count), one=cost(1), images=count)


def measure(bench: Bench, counts: dict[str, int], detector_images: int) -> dict[str, Any]:
    """All tables, and the figures of the JSON line."""
    checkpoints = {name: (f, save(bench.root / f)) for name, (f, save) in ENCODERS.items()}
    stage = {}
    _say("\nThe stage beside the bare forward pass, on proxies of a megapixel (images/s):")
    for name, (family, checkpoint) in checkpoints.items():
        found = bench.child("embedding", family, checkpoint, bench.folder(MIDDLING, counts[MIDDLING]))
        stage[name] = found
        _say_turns(name, found)
    if detector_images:
        checkpoint = workload.save_owlv2(bench.root / "owlv2")
        _say_turns(
            "OWLv2-B/16-960",
            bench.child("grounding", "owlv2", checkpoint, bench.folder(MIDDLING, detector_images)),
        )
    name = next(iter(ENCODERS))
    family, checkpoint = checkpoints[name]
    home = bench.home(family, checkpoint)
    result: dict[str, Any] = {}
    for size, count in counts.items():
        result[size] = _of_size(bench, home, family, checkpoint, size, count, stage[name])
    return _json(stage[name], result[LARGE])


def _of_size(
    bench: Bench, home: Home, family: str, checkpoint: Path, size: str, count: int, stage: dict[str, Any]
) -> dict[str, Any]:
    """Files of one size through every contestant, by turns."""
    _say(f"\n{count} files, {size}, {family}: images/s without the start of the program, and with it")
    contestants: dict[str, Callable[[int], Any]] = {
        "decode": lambda turn: bench.child("decode", family, checkpoint, bench.folder(size, count)),
        "vistag": lambda turn: bench.vistag(home, size, count, turn),
        "plain_loop": lambda turn: bench.child("plain_loop", family, checkpoint, bench.folder(size, count)),
    }
    if bench.peer:
        contestants["clip_retrieval"] = lambda turn: bench.clip_retrieval(checkpoint, size, count)
    turns = [{name: run(turn) for name, run in contestants.items()} for turn in range(bench.rounds)]
    found = {name: _middle([turn[name] for turn in turns]) for name in contestants}
    bare = stage["bare"]["processor_s"] + found["decode"]["processor_s"]
    found["overhead"] = found["vistag"]["processor_s"] / bare
    for name in contestants:
        row = found[name]
        start = f", {row['end_to_end']:.2f}" if "end_to_end" in row else ""
        _say(
            f"  {name:15} {row['images_per_second']:8.2f}{start}; {1e3 * row['processor_s']:.0f} ms of processors an "
            f"image; at most {row['peak_mib']:.0f} MiB"
        )
    _say(f"  vistag's processors to those of bare model and bare decode: {found['overhead']:.2f}")
    return found


def _middle(turns: Sequence[Any]) -> dict[str, float]:
    rows = [_row(turn) if isinstance(turn, Whole) else turn for turn in turns]
    return {figure: statistics.median(row[figure] for row in rows) for figure in rows[0]}


def _row(whole: Whole) -> dict[str, float]:
    return {
        "images_per_second": whole.images_per_second,
        "end_to_end": whole.images / whole.many.seconds,
        "processor_s": whole.processor_s,
        "start_s": whole.one.seconds,
        "peak_mib": whole.many.peak_mib,
    }


def _json(stage: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    peers = {name: large[name] for name in ("clip_retrieval", "plain_loop") if name in large}
    best = max(peer["images_per_second"] for peer in peers.values())
    vistag = large["vistag"]
    return {
        "bare": {"images_per_second": stage["bare"]["images_per_second"]},
        "vistag": {
            "images_per_second": stage["vistag"]["images_per_second"],
            "end_to_end": vistag["images_per_second"],
            "peak_mib": vistag["peak_mib"],
        },
        "clip_retrieval": peers.get("clip_retrieval"),
        "plain_loop": peers["plain_loop"],
        "ratio_to_bare": stage["ratio"],
        "overhead": large["overhead"],
        "ratio_to_best_peer": vistag["images_per_second"] / best,
    }


def _say_turns(name: str, found: dict[str, Any]) -> None:
    bare, ours = found["bare"], found["vistag"]
    _say(
        f"  {name:20} bare {bare['images_per_second']:.2f}, ours {ours['images_per_second']:.2f}, ratio "
        f"{found['ratio']:.3f}; processors {1e3 * bare['processor_s']:.0f} and {1e3 * ours['processor_s']:.0f} ms, ratio "
        f"{found['processor_ratio']:.3f}"
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _peer(python: Path) -> Path | None:
    """The Python that can import clip-retrieval; None, and why, where there is none."""
    if not python.exists():
        _say(
            f"clip-retrieval is not measured: {python} is not there (`make bench` installs it where it can be had)."
        )
        return None
    try:
        cost_of([str(python), _CLIP_RETRIEVAL])
    except subprocess.CalledProcessError as error:
        _say(
            f"clip-retrieval is not measured: {python} does not import it: {(error.stderr or '').strip()[-300:]}"
        )
    else:
        return python
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--large", type=int, default=64, help="files of 24 megapixels (default %(default)s)")
    parser.add_argument("--middling", type=int, default=128, help="of one megapixel")
    parser.add_argument("--small", type=int, default=256, help="thumbnails")
    parser.add_argument("--detector-images", type=int, default=4, help="for OWLv2; 0: leave it out")
    parser.add_argument(
        "--rounds", type=int, default=3, help="turns of every contestant; the middle one counts"
    )
    parser.add_argument("--taxonomy", help="a vocabulary; else the starter, whose phrases take minutes once")
    parser.add_argument(
        "--peer", type=Path, default=Path(".venv-peers/bin/python"), help="Python with clip-retrieval"
    )
    options = parser.parse_args(arguments)
    _say(_FIFTYONE)
    with tempfile.TemporaryDirectory(prefix="vistag-bench-") as root:
        bench = Bench(Path(root), options.rounds, options.taxonomy, _peer(options.peer))
        counts = {LARGE: options.large, MIDDLING: options.middling, SMALL: options.small}
        print(json.dumps(measure(bench, counts, options.detector_images)))


if __name__ == "__main__":
    main()
