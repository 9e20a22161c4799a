"""What the command line shows: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from resources.text import one_line, printable

if TYPE_CHECKING:
    from vistag_assets.progress import Watcher
    from vistag_assets.runs import TagOutcome


class LiteralConsole(Console):
    """A console that shows text as it is: what names, labels, captions and models say is neither markup nor control.

    Styles are given by `style=` and `rich.text.Text`.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is written of anything; `Text` may hold what `render_str` never saw."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    def status(self, status: RenderableType, **options: Any) -> Status:
        """A spinner beside a text, which rich would read as markup."""
        return super().status(Text(printable(status)) if isinstance(status, str) else status, **options)


out = LiteralConsole()
err = LiteralConsole(stderr=True)

BANDS = ("tail", "body", "head", "overall")
LVIS_BANDS = ("rare", "common", "frequent")
SHOWN_FOLDERS = 30


class PlainProgress:
    """Progress as lines for a log: a stage's first and last, and one every `every_s` between them."""

    def __init__(self, every_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._clock = every_s, clock
        self._stage, self._started, self._told, self._ended = "", 0.0, 0.0, True

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        if stage != self._stage:
            self._stage, self._started, self._told, self._ended = stage, now, -math.inf, False
        ends = done >= total
        if (ends and not self._ended) or now - self._told >= self._every_s:
            self._told, self._ended = now, ends
            say(self._line(stage, done, total, now - self._started), to=err)

    @staticmethod
    def _line(stage: str, done: int, total: int, seconds: float) -> str:
        line = f"{stage}: {done:,} of {total:,}"
        if not done or seconds <= 0:
            return line
        rate = done / seconds
        left = f", {timedelta(seconds=round((total - done) / rate))} left" if done < total else ""
        return f"{line}, {rate:,.1f} a second{left}"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:,.0f} a second" if seconds and task.completed else "")


@contextmanager
def progress_bars() -> Iterator[Watcher]:
    """A watcher that draws one bar a stage; without a terminal, one that writes a line now and then."""
    if not err.is_terminal:
        yield PlainProgress()
        return
    columns = (TextColumn("{task.description:<18}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err) as progress:

        def watcher(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            progress.update(tasks[stage], completed=done, total=total)

        yield watcher


def folders_table(outcome: TagOutcome) -> Table:
    table = Table("folder", "images", "rejects", "new")
    for column in table.columns[1:]:
        column.justify = "right"
    for folder in outcome.folders[:SHOWN_FOLDERS]:
        counts = (folder.images, folder.rejects, folder.embedded)
        table.add_row(one_line(folder.folder.relative), *(f"{count:,}" for count in counts))
    hidden = len(outcome.folders) - SHOWN_FOLDERS
    if hidden > 0:
        table.add_row(f"and {hidden:,} more", "", "", "")
    if len(outcome.folders) > 1:
        table.add_section()
        counts = (outcome.images, outcome.rejects, outcome.embedded)
        table.add_row("all", *(f"{count:,}" for count in counts))
    return table


def summary(outcome: TagOutcome) -> str:
    """What the models had to do, in one or two lines."""
    from vistag_assets.folder_asset import declared

    assets = {table: declared(table) for table in outcome.computed}
    done = {table: asset.done for table, asset in assets.items() if asset and asset.role}
    asked = {asset: images for asset, images in outcome.computed.items() if asset in done}
    if outcome.embedded and outcome.images_per_second:
        speed = f"{outcome.images_per_second:,.1f} images/s on {outcome.device}"
        first = f"{outcome.embedded:,} images went through the encoder, {speed}."
    elif asked or outcome.scored:
        phrases = (
            f"{outcome.phrases_embedded:,} new phrases were embedded, " if outcome.phrases_embedded else ""
        )
        first = f"No image was sent to the encoder; {phrases}{outcome.scored:,} images were scored again."
    else:
        return f"Nothing new: {outcome.images:,} images unchanged, no image was sent to a model."
    others = [f"{images:,} {done[asset]}" for asset, images in asked.items() if done[asset]]
    return f"{first}\nImages {', '.join(others)}." if others else first


def gone_lines(outcome: TagOutcome) -> list[str]:
    """What is not there any more, what moved, and what came along."""
    told = []
    if outcome.carried:
        told.append(
            f"{outcome.carried:,} new files show pictures that were known: what is known of them was kept."
        )
    for gone in outcome.gone[:SHOWN_FOLDERS]:
        name = printable(gone.folder.relative)
        places = ", ".join(f"{images:,} in {printable(place)}" for place, images in gone.now_in.items())
        left = gone.images - sum(gone.now_in.values())
        if gone.has_moved:
            told.append(f"{name} is not there any more; all of its images are elsewhere: {places}.")
        else:
            told.append(
                f"{name} is not there any more: gone since {gone.folder.gone_since}."
                + (f" Of its images {places};" if places else "")
                + f" what is known of {left:,} is kept until vistag forget --yes."
            )
    hidden = len(outcome.gone) - SHOWN_FOLDERS
    return [*told, f"and {hidden:,} more folders: vistag forget lists them."] if hidden > 0 else told


def tags_table(tags: Mapping[str, Sequence[str]]) -> Table:
    """Best tags by image path."""
    table = Table("image", "best tags")
    for path, best in tags.items():
        table.add_row(one_line(path), ", ".join(best))
    return table


def recall_table(figures: Mapping[str, Any]) -> Table:
    """Micro recall@k by band, from the JSON of a report; 80 columns hold it for some 100,000 true tags."""
    columns = ("tags", "images", "@1", "@5", "@10", "@20", "95 %", "macro", "mAP", "F1", "support")
    rows = {band: _recall_row(band, figures) for band in figures["tag_recall"]}
    return band_table("Recall@k of true tags; interval and macro at k = 10", columns, rows)


def band_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    """Figures by band: those of `rows` (band -> cells) that are known, the tail first."""
    table = Table("band", *columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.pad_edge = table.show_edge = False
    for column in table.columns[1:]:
        column.justify = "right"
    for bands in (BANDS, LVIS_BANDS):
        for band in bands:
            if band in rows:
                table.add_row(band, *rows[band], style="bold" if band == "tail" else "")
        table.add_section()
    return table


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """The bands of two runs, and the rare tags that changed most, from the JSON of a comparison."""
    table = Table("band", "before", "now", "difference", "95 %", "real", "support", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for band, change in comparison["tag_recall@10"].items():
        low, high = change.get("ci95", (None, None))
        table.add_row(
            band,
            f"{change['before']:.3f}",
            f"{change['after']:.3f}",
            f"{change['difference']:+.3f}",
            "" if low is None else f"{low:+.3f} to {high:+.3f}",
            "yes" if change["is_real"] else "no",
            f"{change['support']:,}",
            style="bold" if band == "tail" else "",
        )
    return table


def _recall_row(band: str, figures: Mapping[str, Any]) -> list[str]:
    by_k, edges = figures["tag_recall"][band], figures["bands"].get(band)
    at_10 = by_k["10"]
    return [
        f"{edges['tags']}" if edges else "",
        _edges(edges) if edges else "",
        *(f"{by_k[k]['micro']:.3f}" for k in ("1", "5", "10", "20")),
        shown_interval(at_10),
        f"{at_10['macro']:.3f}",
        f"{figures['tag_map'][band]:.3f}" if "tag_map" in figures else "",  # of keywords: absent is unknown
        f"{figures['tag_f1'][band]['micro']:.3f}" if "tag_f1" in figures else "",  # reports of before it
        f"{at_10['support']:,}",
    ]


def _edges(band: Mapping[str, int]) -> str:
    low, high = band["min_images"], band["max_images"]
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def shown_interval(figure: Mapping[str, Any]) -> str:
    return "{:.2f}–{:.2f}".format(*figure["ci95"]) if "ci95" in figure else ""


def say(sentence: str, *, to: Console = out) -> None:
    """A sentence for people, in as many lines as it has, whatever it quotes."""
    to.print(sentence, soft_wrap=True)


def complain(what: str, sentence: str) -> None:
    """A sentence on standard error under a bold red word."""
    err.print(Text.assemble((f"{what}:", "bold red"), " ", printable(sentence)), soft_wrap=True)


def say_json(value: object) -> None:
    """A value as JSON, alone on standard output: in ASCII, so that it does nothing to a terminal either."""
    put(json.dumps(value, indent=2) + "\n")


def put(text: str) -> None:
    """Lines for another program, as they are but for control characters: not wrapped, not styled."""
    typer.echo(printable(text), nl=False)


def take_over() -> None:
    """Have the console write what else would be written raw: warnings, messages of loggers, tracebacks."""
    logging.lastResort = _Messages(logging.WARNING)
    warnings.showwarning = _show_warning
    sys.excepthook = _show_bug


class _Messages(logging.Handler):
    """For the messages of loggers that no other handler takes."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), to=err)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    say(warnings.formatwarning(message, category, filename, lineno, line).rstrip(), to=err)


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    say("".join(traceback.format_exception(kind, error, trace)).rstrip(), to=err)
