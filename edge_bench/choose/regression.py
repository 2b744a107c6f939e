"""Ridge regression whose penalty is found by leaving out each value in turn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

PENALTIES = np.logspace(-3, 4, 57)


def ridge(columns: npt.ArrayLike, values: Values) -> tuple[Values, float]:
    """Return the slopes [columns] and the constant of a ridge regression.

    The penalty on the squared slopes is the one of `PENALTIES` with the least leave-one-out error, which
    follows from the singular values without a second fit (Hastie, Tibshirani and Friedman, *The Elements
    of Statistical Learning*, 2009, section 7.10). The constant carries no penalty.

    Args:
        columns: [n, columns], n at least 2, each scaled as its penalty is meant.
        values: [n].
    """
    given = np.asarray(columns, np.float64)
    center, mean = given.mean(axis=0), float(values.mean())
    left, singular, right = np.linalg.svd(given - center, full_matrices=False)
    kept = singular > 1e-9 * max(float(singular[0]), 1e-300)
    left, singular, right = left[:, kept], singular[kept], right[kept]
    projected = left.T @ (values - mean)
    best_error, best_penalty = np.inf, float(PENALTIES[-1])
    for penalty in PENALTIES:
        shrinkage = singular**2 / (singular**2 + penalty)
        residual = values - mean - left @ (shrinkage * projected)
        # 1 / n is the leverage of the constant.
        leverage = np.minimum((left**2) @ shrinkage + 1 / len(values), 1 - 1e-9)
        error = float(((residual / (1 - leverage)) ** 2).mean())
        if error < best_error:
            best_error, best_penalty = error, float(penalty)
    slopes = right.T @ (singular / (singular**2 + best_penalty) * projected)
    return slopes, mean - float(center @ slopes)
