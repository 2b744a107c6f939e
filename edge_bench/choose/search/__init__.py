"""Architecture search: the front of quality against cost within limits, by the most exact way there is."""

from __future__ import annotations

from edge_bench.choose.search.enumeration import enumerate_all
from edge_bench.choose.search.evolution import EVALUATIONS, evolve
from edge_bench.choose.search.exact import TooLarge, is_additive, merge, relaxed
from edge_bench.choose.search.nearest import Nearest, nearest
from edge_bench.choose.search.problem import Found, Limit, Problem

__all__ = ["ENUMERABLE", "Found", "Limit", "Nearest", "Problem", "nearest", "search"]

# A space up to this size is scored whole: under a minute at 100,000 architectures a second.
ENUMERABLE = 5_000_000


def search(problem: Problem, *, seed: int = 0, evaluations: int = EVALUATIONS) -> Found:
    """Return the front of `problem`.

    Merged exactly where quality and costs are sums over blocks; else by scoring every architecture
    where there are at most `ENUMERABLE`; else by NSGA-II. The front is empty where nothing is within the
    limits (with NSGA-II: where nothing was found); `nearest` then tells what comes nearest.

    Args:
        seed: of NSGA-II; equal seeds give equal answers.
        evaluations: how many architectures NSGA-II scores.
    """
    start = None
    if is_additive(problem):
        try:
            return merge(problem)
        except TooLarge:
            start = relaxed(problem)
    if problem.encoding.space.size() <= ENUMERABLE:
        return enumerate_all(problem)
    return evolve(problem, evaluations=evaluations, seed=seed, start=start)
