"""What a record says of the fit of its probe that a reader has to know."""

from __future__ import annotations

from dabs_rq.records.record import Record


def unconverged(result: Record) -> bool:
    """Return whether the fit was cut off before it converged."""
    return result.probe.get("converged") is False


def at_end_of_grid(result: Record) -> bool:
    """Return whether the selected strength is the least or the largest of several that were tried."""
    strengths = result.probe.get("range") or result.options.get("transfer.strengths") or ()  # older records: no range
    ends = {min(strengths), max(strengths)} if strengths else set()
    return len(ends) > 1 and result.probe.get("strength") in ends
