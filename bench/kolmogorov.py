"""The Kolmogorov-Smirnov test of two samples: do they come from the same population?"""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, sqrt

TERMS = 100  # Of the series; the terms fall so fast that a few would do.


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """D: the greatest difference between the two empirical distributions."""
    first, second = sorted(one), sorted(other)
    return max(abs(bisect_right(first, x) / len(first) - bisect_right(second, x) / len(second)) for x in (*first, *second))


def chance(apart: float, one: int, other: int) -> float:
    """p: how likely samples of these sizes are so far apart or further, if they come from the same population.

    Kolmogorov's limiting distribution, with Stephens' correction for small samples.
    """
    root = sqrt(one * other / (one + other))
    scaled = (root + 0.12 + 0.11 / root) * apart
    if scaled < 0.2:  # The series converges no more, and the chance is 1 to many digits.
        return 1.0
    series = sum((-1) ** (term - 1) * exp(-2 * term**2 * scaled**2) for term in range(1, TERMS + 1))
    return min(1.0, max(0.0, 2 * series))
