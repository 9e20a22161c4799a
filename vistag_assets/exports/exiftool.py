"""exiftool, a program of the system, as one process for many files.

It sees files by names of vistag's own in a folder of vistag's own, and values in a file of JSON: what strangers called
their files, or wrote into captions, never becomes an argument. It gets no environment but the path to programs, and no
configuration of the account, which would be Perl.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, Any

OLDEST = (12, 38)
"""Before it, what a file holds or how it is called could run as a command (CVE-2021-22204, CVE-2022-23935)."""
ANSWER_S = 300
"""After this long without an answer it is ended, and the file left as it is."""
_BLOCK = 1 << 16


class ExiftoolUnavailable(ValueError):
    """There is no exiftool that can be used; the message says what to do."""


class ExiftoolFailed(ValueError):
    """exiftool did not do what it was asked to; the message is what it said."""


class Exiftool:
    """A process that works in `folder`, whose files it is told by their names there. Raises ExiftoolUnavailable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = shutil.which("exiftool")
        if self._program is None:
            raise ExiftoolUnavailable(
                "exiftool is not installed, and vistag writes into pictures by it alone. Install it (Debian, Ubuntu: "
                "apt install libimage-exiftool-perl; macOS: brew install exiftool), or write sidecars, which need none"
            )
        self._process: subprocess.Popen[bytes] | None = None
        version = self.ask("-ver").decode("ascii", "replace").strip()
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
            self.close()
            raise ExiftoolUnavailable(
                f"exiftool is {version}; a file of a stranger could make one before 12.38 run commands. Install a newer one"
            )

    def ask(self, *arguments: str) -> bytes:
        """What it answers on standard output. No argument holds anything of a stranger's. Raises ExiftoolFailed."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        command = [*arguments, "-echo4", "{ready}", "-execute"]
        try:
            process.stdin.write("".join(f"{line}\n" for line in command).encode())
            process.stdin.flush()
            told, complaints = self._heard(process.stdout, process.stderr)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise ExiftoolFailed(f"exiftool ended on it ({error or type(error).__name__})") from error
        said = complaints.decode("utf-8", "replace").strip()
        if "Error" in said:
            raise ExiftoolFailed(f"exiftool says: {' '.join(said.split())}")
        return told

    def read(self, name: str, *tags: str) -> dict[str, Any]:
        """Values of a file's tags, by group and name, as they are written: 1.50 is no 1.5."""
        told = self.ask("-j", "-G", "-n", *(f"-{tag}" for tag in tags), name)
        (found,) = json.loads(told, parse_int=str, parse_float=str)
        return dict(found)

    def write(self, name: str, values: dict[str, Any], *more: str) -> None:
        """Set tags of a file, by group and name; an empty list removes one. It is replaced by exiftool."""
        given = self._folder / "values.json"
        given.write_text(json.dumps([{"SourceFile": "*", **values}]), encoding="utf-8")
        self.ask("-overwrite_original", f"-j={given.name}", *more, name)

    def close(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            assert self._program is not None
            self._process = subprocess.Popen(
                [self._program, "-config", "", "-stay_open", "True", "-@", "-"],
                cwd=self._folder,
                env={name: os.environ[name] for name in ("PATH",) if name in os.environ} | {"LC_ALL": "C"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        return self._process

    def _heard(self, out: IO[bytes], errors: IO[bytes]) -> tuple[bytes, bytes]:
        """All of both streams to the mark that each ends with. Raises EOFError, TimeoutError."""
        heard: dict[int, bytes] = {out.fileno(): b"", errors.fileno(): b""}
        deadline = time.monotonic() + ANSWER_S
        while waiting := [of for of, text in heard.items() if not text.endswith(_END)]:
            ready, _, _ = select.select(waiting, [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer in {ANSWER_S} seconds")
            for of in ready:
                block = os.read(of, _BLOCK)
                if not block:
                    raise EOFError("it ended")
                heard[of] += block
        told, complaints = (text[: -len(_END)] for text in heard.values())
        return told, complaints


_END = b"{ready}\n"
