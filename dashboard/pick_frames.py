"""A pick as a table: the recommended candidate among its neighbours on the front. Pure functions."""

from __future__ import annotations

import pandas as pd

from dashboard.frames import identity, picks_table
from edge_bench.choose.chances import chance, told_chance
from edge_bench.choose.pick import Pick
from edge_bench.choose.reasons import told_exchange
from edge_bench.choose.trade_offs import exchanges


def picks_frame(picked: Pick, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frames.picks_table` of a pick, with how likely each meets the budget and what it gives.

    Args:
        picked: the recommendation.
        frame: what it was chosen among, as `frames.candidate_frame` gives it.
    """
    members = picked.members
    steps = {
        identity(step.better): told_exchange(step)
        for step in exchanges(picked.land)
        if step.better in members
    }
    chances = {identity(one): chance(one, picked.budget) for one in members}
    rows = frame[frame["id"].isin(list(chances))]
    rows = rows.assign(
        chance=["" if (found := chances[one]) is None else told_chance(found) for one in rows["id"]],
        exchange=[steps.get(one, "") for one in rows["id"]],
    )
    return picks_table(rows, rows[rows["id"] == identity(picked.recommended)].iloc[0])
