"""Which GPU a run works on: one that no other run of the home has, and which it has until it ends."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from resources.lake.files import make_directory

MODELS_POOL = "models"
"""The pool of the assets that load a model of the tier: as many runs at once as there are cards (docs/operations.md)."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


@contextmanager
def card_of_its_own(directory: Path) -> Iterator[None]:
    """Within, this process sees one GPU, and no other process that asks here with the same directory sees that one.

    Waits while all are taken. Where no GPU is to be seen, nothing happens. The process goes on seeing that one GPU
    afterwards, because CUDA does not look again; so it has to come first, before anything is asked of CUDA.
    """
    cards = _visible_cards()
    if not cards:
        yield
        return
    with free_card(directory, cards) as card:
        os.environ[_VISIBLE] = card
        yield


@contextmanager
def free_card(directory: Path, cards: Sequence[str]) -> Iterator[str]:
    """The first of `cards` that no process holds, held within; waits for one. The kernel frees those of dead processes."""
    make_directory(directory)
    told = False
    while True:
        for card in cards:
            with (directory / f"{card}.lock").open("ab") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield card
                return
        if not told:
            _log.warning("waiting for a GPU: other runs of this home have all of them (%s)", ", ".join(cards))
            told = True
        time.sleep(_POLL_SECONDS)


def _visible_cards() -> list[str]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them."""
    if (named := os.environ.get(_VISIBLE)) is not None:
        return [card.strip() for card in named.split(",") if card.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
