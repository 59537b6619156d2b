"""Small pictures of a row: dots on a line, as numbers for the page's template to draw."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH = 100.0
MARGIN = 4.0


class Strip(NamedTuple):
    """Where things lie on a line from 0 to `WIDTH`."""

    dots: list[float]  # runs
    printed: float
    ours: float | None  # the pipeline's run, or the default
    interval: tuple[float, ...]  # its ends, or none
    label: str  # the same in words
    ends: tuple[float, float]  # the values at `MARGIN` from the line's ends


def strip(
    values: Sequence[float],
    printed: float,
    ours: float | None = None,
    interval: Sequence[float] | None = None,
    tolerance: float = 0.0,
    what: str = "seeds",
) -> Strip:
    """Place values, the printed number, ours and an interval on a line that just holds them all.

    The line reaches at least `tolerance` to both sides of the printed number: what would not matter
    should not look large. The interval is cut off where it would press all else together: beyond as
    much again on each side as the rest takes.
    """
    known = [*values, printed] if ours is None else [*values, printed, ours]
    room = tolerance or 0.01 * abs(printed) or 1.0
    low, high = min(*known, printed - room), max(*known, printed + room)
    ends = []
    if interval is not None:
        span = high - low
        ends = [max(interval[0], low - span), min(interval[1], high + span)]
        low, high = min(low, ends[0]), max(high, ends[1])

    def place(value: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / (high - low), 1)

    extent = f" from {min(values):.4g} to {max(values):.4g}" if values else ""
    return Strip(
        sorted(map(place, values)),
        place(printed),
        None if ours is None else place(ours),
        tuple(map(place, ends)),
        f"{len(values)} {what}{extent}; printed {printed:.4g}",
        (low, high),
    )


def difference_strip(difference: float, interval: Sequence[float], margin: float = 0.0) -> Strip:
    """Place a mean difference and its interval on a line with zero in the place of the printed.

    Dots are the ends of the margin of an equality.
    """
    low, high = interval
    label = f"difference {difference:.3g}, from {low:.3g} to {high:.3g}"
    if margin:
        label += f"; margin {margin:.3g}"
    ends = [-margin, margin] if margin else []
    reach = max(map(abs, (difference, low, high, margin)))
    return strip(ends, 0.0, difference, interval, reach)._replace(label=label)
