"""Keys to services stay in the environment: out of tier files, tables, logs and messages."""

from __future__ import annotations

import re

_NAME = re.compile(r"(key|token|secret|password|credentials?)$", re.IGNORECASE)


def is_secret_name(field: str) -> bool:
    """Whether a field of that name would hold a secret."""
    return _NAME.search(field) is not None


def without_secret(text: str, secret: str | None) -> str:
    """What others wrote, such as a server that repeats the headers it was sent, without the secret in it."""
    return text.replace(secret, "***") if secret else text
