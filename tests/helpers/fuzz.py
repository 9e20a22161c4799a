"""The long fuzzing run: `make fuzz`. Guided by coverage (atheris, which is libFuzzer), target after target.

What breaks a property, hangs, or takes too much memory ends it with code 1, and is left in .fuzz/ beside the corpus,
which the next run goes on from. `python tests/helpers/fuzz.py image .fuzz/image-crash-...` runs one input again.
"""

import argparse
import logging
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(
    include=[
        "PIL",
        "resources.images",
        "resources.home.home",
        "resources.http_client",
        "resources.models.detectors.dino_x",
        "resources.models.tiers",
        "resources.models.vlms",
        "taxonomy",
        "evaluation.readers",
        "yaml",
    ]
):
    from fuzz_targets import ROOT, TARGETS
    from mutations import MAX_BYTES

FOLDER = ROOT / ".fuzz"
IMAGE_SHARE = 0.6
HANG_S = 20
MEMORY_MIB = 2048


def run_all(minutes: float) -> int:
    """Every target for its share of the time, each in a process of its own; the number of those that failed."""
    others = 60 * minutes * (1 - IMAGE_SHARE) / (len(TARGETS) - 1)
    failed = []
    for name in TARGETS:
        seconds = max(1, round(60 * minutes * IMAGE_SHARE if name == "image" else others))
        print(f"{name}: {seconds} s", flush=True)
        done = subprocess.run([sys.executable, __file__, name, "--seconds", str(seconds)], check=False)
        failed += [name] if done.returncode else []
    print(f"failed: {', '.join(failed)} (see {FOLDER})" if failed else "nothing was found")
    return len(failed)


def run(name: str, seconds: int, inputs: Sequence[str]) -> None:
    """Fuzz one target, or run inputs again; does not return."""
    warnings.simplefilter("ignore")
    logging.disable()  # what is read tells of much that it does not like
    target = TARGETS[name]
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    seeds = list(target.seeds)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.3:  # libFuzzer's own, which know what the code compared with
            return atheris.Mutate(data, max_size)
        return target.mutate(random, data, seeds)[:max_size]

    options = [
        f"-max_total_time={seconds}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={MAX_BYTES}",
        f"-artifact_prefix={FOLDER}/{name}-",
        "-print_final_stats=1",
        "-verbosity=0",
        "-close_fd_mask=2",  # of what is fuzzed, not of libFuzzer: what libtiff says of every file
        *(inputs or [str(corpus)]),
    ]
    atheris.Setup([sys.argv[0], *options], target.check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("inputs", nargs="*", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--minutes", type=float, default=30, help="for all targets together")
    parser.add_argument("--seconds", type=int, default=60, help="for one target")
    given = parser.parse_args()
    if given.target is None:
        sys.exit(1 if run_all(given.minutes) else 0)
    run(given.target, given.seconds, given.inputs)
