"""Results as a line for a terminal, and as the table of docs/gpu.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.gpu_check.checks import Result

START, END = "<!-- results -->", "<!-- end of results -->"


def told(result: Result) -> str:
    more = _figures(result) or result.reason
    reason = f" ({result.reason})" if result.reason and more != result.reason else ""
    return f"{result.status:8} {result.seconds:6.1f} s  {result.name}: {result.subject}: {more}{reason}"


def written_into(page: str, card: str, date: str, results: Sequence[Result]) -> str:
    """The page with the results of a card in the place of the last ones."""
    before, _, rest = page.partition(START)
    lines = [
        f"On {card}, {date}:",
        "",
        "| | check | of | measured | seconds |",
        "|---|---|---|---|---|",
        *(
            f"| {result.status} | {result.name} | {result.subject} | {_cell(result)} | {result.seconds:.0f} |"
            for result in results
        ),
    ]
    return "\n".join([before + START, *lines, END]) + rest.partition(END)[2]


def _cell(result: Result) -> str:
    return "; ".join(filter(None, [_figures(result), result.reason])).replace("|", "\\|")


def _figures(result: Result) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in result.figures.items()
    )
