"""Fingerprints: what a row was computed by, short enough for a column."""

import hashlib
import json


def fingerprint(**parts: object) -> str:
    """Return 16 hex digits that change whenever a part changes, whatever order the parts are named in.

    The parts must be JSON values. Raises TypeError for anything else: its text form might not be stable.
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
