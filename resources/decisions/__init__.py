"""What people decided about pictures: an append-only log, and what stands by it."""

from resources.decisions.event import (
    IMPORT_CLIENT,
    Event,
    Standing,
    UnusableDecision,
    fold,
    in_force,
    successor,
)
from resources.decisions.leases import Lease, Leases, Pair, next_pairs
from resources.decisions.log import DecisionLog, LogUnavailable

__all__ = [
    "IMPORT_CLIENT",
    "DecisionLog",
    "Event",
    "Lease",
    "Leases",
    "LogUnavailable",
    "Pair",
    "Standing",
    "UnusableDecision",
    "fold",
    "in_force",
    "next_pairs",
    "successor",
]
