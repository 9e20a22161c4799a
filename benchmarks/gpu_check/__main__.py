"""All that is said of GPUs, held against the card of this machine in under nine minutes, with nothing downloaded.

Models are built at their published sizes with random weights. Ends with one JSON line, and writes docs/gpu.md.
Without a card, or with --dry, all runs to its end on the processor, where it measures little and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

BUDGET_S = 520.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="on the processor, whatever the machine has")
    parser.add_argument(
        "--seconds", type=float, default=BUDGET_S, help="checks that would take longer are left out"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/gpu.md"), help="what is written on a card")
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"

    import torch

    from benchmarks.gpu_check.checks import made
    from benchmarks.gpu_check.libraries import library_checks
    from benchmarks.gpu_check.models import full_card_check, model_checks
    from benchmarks.gpu_check.page import told, written_into
    from benchmarks.gpu_check.serving import serving_checks

    if not (asked.dry or torch.cuda.is_available()):
        print(
            "There is no CUDA GPU here: make gpu-check DRY=1 goes through all of it on the processor.",
            file=sys.stderr,
        )
        return 1
    device = "cpu" if asked.dry else "cuda"
    card = "none: a dry run on the processor" if asked.dry else torch.cuda.get_device_name(0)
    print(f"card: {card}", flush=True)
    started_s, results = time.perf_counter(), []
    checks = [
        *serving_checks(device),
        full_card_check(device),
        *library_checks(device),
        *model_checks(device),
    ]
    for check in checks:
        results.append(made(check, asked.seconds - (time.perf_counter() - started_s)))
        print(told(results[-1]), flush=True)
    date = datetime.now(UTC).date().isoformat()
    if not asked.dry:
        asked.page.write_text(written_into(asked.page.read_text(), card, date, results))
    print(json.dumps({"card": card, "date": date, "checks": [asdict(result) for result in results]}))
    return int(any(result.status == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
