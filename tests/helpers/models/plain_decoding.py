"""The best words by a plain forward pass, asked anew for each word: what captioners with caches and batches are held to."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Told = Callable[[list[int]], Tensor]
"""Words so far -> log-probabilities [vocabulary] of the next one."""
Allowed = Callable[[Tensor, list[int]], Tensor]
"""Log-probabilities and words so far -> the same, -inf for what may not follow."""


def _any(logprobs: Tensor, _: list[int]) -> Tensor:
    return logprobs


def greedily(
    told: Told, begin: int, end: int, most: int, allowed: Allowed = _any
) -> tuple[list[int], list[float]]:
    """The words, and the log-probability of each as it was told."""
    words, said = [begin], []
    while len(words) <= most and words[-1] != end:
        logprobs = told(words)
        words.append(int(allowed(logprobs, words).argmax()))
        said.append(float(logprobs[words[-1]]))
    return words[1:], said


def by_beams(told: Told, begin: int, end: int, most: int, beams: int, allowed: Allowed = _any) -> list[int]:
    """The best by its mean log-probability of what ends or is cut."""
    running, ended = [(0.0, [begin])], []
    for step in range(1, most + 1):
        found = []
        for score, words in running:
            best = allowed(told(words), words).topk(2 * beams)
            found += [
                (score + float(value), [*words, int(token)]) for value, token in zip(*best, strict=True)
            ]
        found.sort(key=lambda pair: -pair[0])
        ended += [(score / step, words) for score, words in found[:beams] if words[-1] == end]
        running = [pair for pair in found if pair[1][-1] != end][:beams]
        ended = sorted(ended, key=lambda pair: -pair[0])[:beams]
        if len(ended) == beams and running[0][0] / step <= ended[-1][0]:
            break
    else:
        ended += [(score / most, words) for score, words in running]
    return max(ended, key=lambda pair: pair[0])[1][1:]
