"""What the command line writes: text as it is, progress without a terminal, one sentence after Ctrl-C."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from services import environment
from small_library import draw, tiny_home
from tiny_checkpoint import save_tiny_siglip

from vistag_assets.cli import console
from vistag_assets.cli.console import LiteralConsole, PlainProgress

HOSTILE = (
    "bowl [/] blue",
    "[folding] chair",
    ":smile: [red]",
    "a\x1b[2Jb",
    "a\x1b]0;title\x07b",
    "é\udce9",
    "\ud800",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_neither_markup_nor_control(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = text.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\udce9", "\\xe9")
    shown = shown.replace("\ud800", "\\ud800")
    screen = LiteralConsole()
    table = Table(text, title=text)
    table.add_row(text)
    console.say(text, to=screen)
    screen.print(table)
    with screen.status(text):
        pass
    written = capsys.readouterr().out
    assert "\x1b" not in written
    assert written.count(shown) >= 4


def test_nothing_in_the_command_line_writes_past_the_console() -> None:
    modules = {path: ast.parse(path.read_text()) for path in Path(console.__file__).parent.glob("*.py")}
    past = [
        f"{path.name}: {ast.unparse(node)}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write")
    ]
    assert past == ["console.py: typer.echo(printable(text), nl=False)"]


def test_warnings_messages_of_loggers_and_tracebacks_are_printable_too() -> None:
    code = (
        "import logging, warnings; from vistag_assets.cli import console; console.take_over()\n"
        "logging.getLogger('a').warning('a%s', chr(27)); warnings.warn('b' + chr(27)); raise ValueError('c' + chr(27))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert all(f"{letter}\\x1b" in done.stderr for letter in "abc")


def test_an_error_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain("Error", "no file [/] here\x1b[2J")
    assert capsys.readouterr().err == "Error: no file [/] here\\x1b[2J\n"


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0, 10, 29, 30, 45, 61, 70, 71])
    watch = PlainProgress(every_s=30, clock=lambda: next(now))
    for done in (0, 10, 20, 30, 45, 60, 90, 90):
        watch("Captioning images", done, 90)
    assert capsys.readouterr().err.splitlines() == [
        "Captioning images: 0 of 90",
        "Captioning images: 30 of 90, 1.0 a second, 0:01:00 left",
        "Captioning images: 60 of 90, 1.0 a second, 0:00:30 left",
        "Captioning images: 90 of 90, 1.3 a second",
    ]


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_step_is_one_sentence_and_130(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    save_tiny_siglip(checkpoint)
    home = tiny_home(tmp_path, checkpoint)
    for number in range(300):
        draw(tmp_path / "library" / "many" / f"{number}.png", seed=number)
    command = [
        sys.executable,
        "-c",
        "from vistag_assets.cli import app; app()",
        "run",
        str(tmp_path / "library"),
    ]
    with subprocess.Popen(
        [*command, "--home", str(home.root)], stderr=subprocess.PIPE, text=True, env=environment()
    ) as run:
        assert run.stderr is not None
        seen = []
        for line in run.stderr:
            seen.append(line)
            if line.startswith("Reading images: 0 of"):
                run.send_signal(signal.SIGINT)
        assert run.wait(120) == 130, "".join(seen)
    told = [line for line in seen if not re.match(r"[A-Z][a-z ]+: [\d,]+ of ", line)]  # progress
    assert told == ["Stopped. What was finished is kept; the next run goes on from there.\n"]
