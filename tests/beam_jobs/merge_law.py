"""The law of mergeable statistics: any split of the rows, merged in any order, gives what all rows give at once."""

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import TypeVar

S = TypeVar("S")


def merged_at_random(
    count: Callable[[slice], S], merge: Callable[[S, S], S], rows: int, cuts: list[int], random: Random
) -> S:
    """Counts the rows between the cuts apart, then merges randomly chosen pairs until one is left."""
    parts = [count(slice(start, end)) for start, end in pairwise([0, *sorted(cuts), rows])]
    while len(parts) > 1:
        random.shuffle(parts)
        parts.append(merge(parts.pop(), parts.pop()))
    return parts[0]
