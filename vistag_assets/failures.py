"""What a step that failed says: in Dagster's UI the sentence comes first and once."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.text import printable

_OURS = frozenset(["taxonomy", "resources", "vistag_assets", "evaluation"])


class Stopped(dg.Failure):
    """A step that cannot go on, for a reason that its reader can do something about."""

    # Dagster shows a class by its whole name, before the sentence
    __module__ = "builtins"


def sentence_of(error: BaseException) -> str:
    """What a person is told of an error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@contextmanager
def told_first() -> Iterator[None]:
    """Around the work of a step, in a run that Dagster launched: an error whose message is a sentence for people (all of
    ours are, and the system's of files) is shown as that sentence, in place of Dagster's wrapping and of the errors
    that led to it, which the log has at the level DEBUG. A command raises and tells its errors itself.
    """
    try:
        yield
    except Exception as error:
        context = dg.OpExecutionContext.get()
        ours = type(error).__module__.split(".")[0] in _OURS
        if context.run.remote_job_origin is None or not (ours or isinstance(error, OSError)):
            raise
        context.log.debug("".join(traceback.format_exception(error)))
        raise Stopped(printable(sentence_of(error)), allow_retries=False) from None
