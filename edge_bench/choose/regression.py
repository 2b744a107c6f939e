"""Ridge regression whose penalty is found by leaving out each value in turn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

PENALTIES = np.logspace(-3, 4, 57)


def ridge(columns: npt.ArrayLike, values: Values, *, weights: Values | None = None) -> tuple[Values, float]:
    """Return the slopes [columns] and the constant of a ridge regression.

    The penalty on the squared slopes is the one of `PENALTIES` with the least leave-one-out error, which
    follows from the singular values without a second fit (Hastie, Tibshirani and Friedman, *The Elements
    of Statistical Learning*, 2009, section 7.10). The constant carries no penalty.

    Args:
        columns: [n, columns], n at least 2, each scaled as its penalty is meant.
        values: [n].
        weights: [n] what each row's error is multiplied by; all 1 where not given.
    """
    given = np.asarray(columns, np.float64)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    share = weight**2 / (weight**2).sum()
    center, mean = share @ given, float(share @ values)
    left, singular, right = np.linalg.svd((given - center) * weight[:, None], full_matrices=False)
    kept = singular > 1e-9 * max(float(singular[0]), 1e-300)
    left, singular, right = left[:, kept], singular[kept], right[kept]
    centered = (values - mean) * weight
    projected = left.T @ centered
    best_error, best_penalty = np.inf, float(PENALTIES[-1])
    for penalty in PENALTIES:
        shrinkage = singular**2 / (singular**2 + penalty)
        residual = centered - left @ (shrinkage * projected)
        # A row's share is the leverage of the constant.
        leverage = np.minimum((left**2) @ shrinkage + share, 1 - 1e-9)
        error = float(((residual / (1 - leverage)) ** 2).mean())
        if error < best_error:
            best_error, best_penalty = error, float(penalty)
    slopes = right.T @ (singular / (singular**2 + best_penalty) * projected)
    return slopes, mean - float(center @ slopes)
