"""What people decided about pictures: an append-only log, and what stands by it."""

from resources.decisions.event import Event, Standing, UnusableDecision, fold, in_force
from resources.decisions.log import DecisionLog, LogUnavailable

__all__ = [
    "DecisionLog",
    "Event",
    "LogUnavailable",
    "Standing",
    "UnusableDecision",
    "fold",
    "in_force",
]
