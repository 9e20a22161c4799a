"""What the trainings of the bundled models share: optimisers, the loop with its log, and a state that a kill cannot harm."""

import argparse
import csv
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

HEAD_SHARE, BODY_SHARE = 0.10, 0.20

Recipe = TypeVar("Recipe")


def read_arguments(
    description: str | None,
    recipe: type[Recipe],
    pool: str,
    log: str,
    *,
    check_every: int,
    encoder: bool = True,
) -> tuple[Recipe, argparse.Namespace]:
    """The recipe, an option a field, and what else the command line says, or its defaults: `pool`, `log`, `check_every`,
    `workers`, and the `encoder` that a training starts from.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = asdict(recipe())  # type: ignore[call-overload]
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--pool", type=Path, default=Path(pool), help="rendered scenes and the state")
    if encoder:
        parser.add_argument("--encoder", type=Path, default=Path("demo/checkpoints/encoder"))
    parser.add_argument("--log", type=Path, default=Path("demo/training", log))
    parser.add_argument("--check-every", type=int, default=check_every, help="steps")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    return recipe(**{name: getattr(given, name) for name in defaults}), given


def is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a hidden matrix: of those Muon takes care."""
    return ".layers." in name and parameter.ndim == 2


def bands_of(support: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The columns of each band of a training's log, by their support; the figures that count come from `evaluation`."""
    ranked = np.argsort(-support, kind="stable")[: int((support > 0).sum())]
    head = int(np.ceil(HEAD_SHARE * len(ranked)))
    body = head + int(np.ceil(BODY_SHARE * len(ranked)))
    return {"overall": ranked, "head": ranked[:head], "body": ranked[head:body], "tail": ranked[body:]}


class Training:
    """One run of a training; all of it follows from the recipe, and each batch from (seed, step).

    A training makes its `modules`, of which the first is the model, and calls `optimise`; it has `pace`, `check`, and
    `losses` or an `advance` of its own.
    """

    LOSSES: ClassVar[tuple[str, ...]]
    """names of what `advance` returns; columns of the log, as are FIGURES, the names of what `check` returns"""
    FIGURES: ClassVar[tuple[str, ...]]
    LOSS_DIGITS: ClassVar[int] = 3
    SAVE_EVERY: ClassVar[int | None] = None
    """steps; None: at checks only"""

    recipe: Any
    modules: Mapping[str, nn.Module]

    def __init__(self, recipe: Any, folder: Path) -> None:
        """`folder` holds the state."""
        torch.manual_seed(recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe, self.folder, self.step = recipe, folder, 0
        self.resumed: list[dict[str, Any]] = []
        """from which step on the recipe was another: each change as [before, after]"""

    def optimise(self, hidden: Iterable[Any], rest: Iterable[Any], **options: Any) -> None:
        """Have Muon change the hidden matrices and AdamW, with `options`, the rest: parameters, or groups of them."""
        r = self.recipe
        self.optimisers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(list(hidden), lr=r.muon_learning_rate, weight_decay=r.weight_decay),
            torch.optim.AdamW(list(rest), lr=r.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, **options),
        )

    def pace(self) -> float:
        """The share of the full learning rate at this step, 0..1."""
        raise NotImplementedError

    def losses(self) -> tuple[tuple[float, Tensor], ...]:
        """The losses of the batch of this step, each with its weight."""
        raise NotImplementedError

    def check(self) -> dict[str, float]:
        """The FIGURES, on scenes that it does not learn from."""
        raise NotImplementedError

    def advance(self) -> tuple[float, ...]:
        """One optimiser step; returns the LOSSES."""
        self.begin_step()
        losses = self.losses()
        torch.stack([weight * loss for weight, loss in losses]).sum().backward()
        self.end_step(longest_gradient=1.0)
        return tuple(float(loss.detach()) for _, loss in losses[: len(self.LOSSES)])

    def begin_step(self, shares: tuple[float, ...] = (1.0,)) -> None:
        """Forget gradients and set learning rates; `shares`: of the full rate, for each group of parameters."""
        full = (self.recipe.muon_learning_rate, self.recipe.learning_rate)
        for optimiser, rate in zip(self.optimisers, full, strict=True):
            for group, share in zip(optimiser.param_groups, shares, strict=True):
                group["lr"] = rate * share * self.pace()
            optimiser.zero_grad(set_to_none=True)

    def end_step(self, longest_gradient: float) -> None:
        """Follow the gradient, cut to that length."""
        nn.utils.clip_grad_norm_(next(iter(self.modules.values())).parameters(), longest_gradient)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1

    def save(self) -> None:
        """Keep everything that a resumed run needs, replaced in one instant."""
        state = {name: module.state_dict() for name, module in self.modules.items()} | {
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "recipe": asdict(self.recipe),
            "resumed": self.resumed,
        }
        part = self.folder / "state.part"
        torch.save(state, part)
        part.replace(self.folder / "state.pt")

    def resume(self) -> bool:
        """Go on where the last run of the same folder stopped; False where there was none."""
        path = self.folder / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.step, self.resumed = state["step"], state.get("resumed", [])
        now = asdict(self.recipe)
        before = now | state.get("recipe", {})
        if changed := {name: [before[name], value] for name, value in now.items() if before[name] != value}:
            self.resumed = [*self.resumed, {"from_step": self.step, **changed}]
        print(f"resumed at step {self.step:,}", flush=True)
        return True

    def run(self, log: Path, check_every: int) -> None:
        """Resume, and advance to the last step; every `check_every` steps check, save, and write a line of the curve to the
        CSV `log`: the progress, the mean of each loss since the last line, and the figures. A run at step 0 begins it anew.
        """
        parameters = sum(p.numel() for p in next(iter(self.modules.values())).parameters())
        print(f"{parameters / 1e6:.2f} M parameters, {json.dumps(asdict(self.recipe))}", flush=True)
        self.resume()
        fresh = not log.exists() or self.step == 0
        with log.open("w" if fresh else "a", newline="") as file:
            columns = ("step", "images", "images_per_second", "pace", *self.LOSSES, *self.FIGURES)
            writer = csv.DictWriter(file, columns)
            if fresh:
                writer.writeheader()
            mark, seen = time.monotonic(), list[tuple[float, ...]]()
            while self.step < self.recipe.steps:
                seen.append(self.advance())
                if self.SAVE_EVERY and self.step % self.SAVE_EVERY == 0:
                    self.save()
                    print(self.step, np.mean(seen[-self.SAVE_EVERY :], axis=0).round(3), flush=True)
                if self.step % check_every == 0 or self.step == self.recipe.steps:
                    row = self._progress(seen, time.monotonic() - mark)
                    writer.writerow(row)
                    file.flush()
                    self.save()
                    print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)
                    mark, seen = time.monotonic(), []

    def _progress(self, seen: list[tuple[float, ...]], seconds: float) -> dict[str, Any]:
        """A line of the log after steps with the losses `seen`."""
        images = self.recipe.batch_images
        means: NDArray[np.float64] = np.mean(seen, axis=0)
        losses = zip(self.LOSSES, means, strict=True)
        return {
            "step": self.step,
            "images": self.step * images,
            "images_per_second": round(len(seen) * images / seconds),
            "pace": round(self.pace(), 3),
            **{name: f"{loss:.{self.LOSS_DIGITS}f}" for name, loss in losses},
            **{name: f"{figure:.3f}" for name, figure in self.check().items()},
        }
