"""Why a file cannot be used: a stable code for programs, a sentence for people (docs/ingest.md lists all)."""


class Reject(Exception):
    """Raised for one file that cannot be used; ends as a row of `rejects`, never as a failed run.

    `code` is a short stable word; `reason` says in a sentence what is wrong and what to do.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


def unreadable(error: OSError) -> Reject:
    """The reject for a file or folder that the system refuses to hand out."""
    why = (error.strerror or str(error)).lower()
    return Reject(
        "unreadable",
        f"The system would not let it be read ({why}). Give the account that runs vistag the right "
        "to read it, or check the disk; the next run tries again.",
    )
