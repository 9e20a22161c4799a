"""What the trainings of the bundled models share: the loop with its log, and a state that a kill cannot harm."""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray


class Trainer(Protocol):
    """One run of a training; `step` counts what is done."""

    step: int

    def pace(self) -> float: ...
    def advance(self) -> tuple[float, ...]: ...
    def check(self) -> dict[str, float]: ...
    def save(self) -> None: ...


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace `folder`/state.pt in one instant."""
    part = folder / "state.part"
    torch.save(dict(state), part)
    part.replace(folder / "state.pt")


def train(
    trainer: Trainer,
    steps: int,
    log: Path,
    losses: Sequence[str],
    figures: Sequence[str],
    *,
    images_a_step: int,
    check_every: int,
    loss_digits: int = 3,
    save_every: int | None = None,
) -> None:
    """Advance to `steps`; every `check_every` of them check, save, and write a line of the curve to the CSV `log`.

    The columns are those of the progress, the mean of each of the `losses` since the last line, and the `figures` of
    the check. A run at step 0 begins the log anew. With `save_every` the state is kept, and the losses told, between
    checks too.
    """
    columns = ("step", "images", "images_per_second", "pace", *losses, *figures)
    fresh = not log.exists() or trainer.step == 0
    with log.open("w" if fresh else "a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if fresh:
            writer.writeheader()
        mark, seen = time.monotonic(), list[tuple[float, ...]]()
        while trainer.step < steps:
            seen.append(trainer.advance())
            if save_every and trainer.step % save_every == 0:
                trainer.save()
                print(trainer.step, np.mean(seen[-save_every:], axis=0).round(3), flush=True)
            if trainer.step % check_every == 0 or trainer.step == steps:
                speed = len(seen) * images_a_step / (time.monotonic() - mark)
                means: NDArray[np.float64] = np.mean(seen, axis=0)
                row = {
                    "step": trainer.step,
                    "images": trainer.step * images_a_step,
                    "images_per_second": round(speed),
                    "pace": round(trainer.pace(), 3),
                    **{name: f"{loss:.{loss_digits}f}" for name, loss in zip(losses, means, strict=True)},
                    **{name: f"{figure:.3f}" for name, figure in trainer.check().items()},
                }
                writer.writerow(row)
                file.flush()
                trainer.save()
                print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)
                mark, seen = time.monotonic(), []
