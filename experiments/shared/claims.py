"""Verdicts on claims, from checks of the numbers."""

from collections.abc import Iterable


def stands(checks: Iterable[bool]) -> str:
    """Return how a claim stands: it holds if all checks pass, and in part if some do."""
    passed = [bool(check) for check in checks]
    return "holds" if all(passed) else "holds in part" if any(passed) else "does not hold"
