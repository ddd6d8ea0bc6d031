"""The season: each hour of the week relative to the mean hour, and the growth removed to learn it.

S_c = sum X / sum (block mean x e^(b t)) over the hours of cell c in six blocks of seven days, with t
counted from the middle of the block. This is the ratio to a trend that bends with every block. The mean
over the week is 1. Where a member has few orders in a cell, its season is drawn to the market's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streams.index.hours import BLOCK_DAYS, CELLS, LEARNT_DAYS, Calendar, Index
from streams.index.trend import Matrix, Vector, by_group, fit_trend, logs, ratio

PRIOR_ORDERS = 25.0
"""The market's shape weighs as much as this many orders in a cell."""
HALF = 0.5
"""Added to a total before its logarithm is taken. For a Poisson count, this is unbiased."""
_PASSES = 3
"""Passes in which block means and season are found in turn, where hours are missing or have factors."""
_BLOCKS = LEARNT_DAYS // BLOCK_DAYS
_BLOCK_SHARE_MIN = 0.5
"""Share of a block's hours that must have been learnt for the block to count for growth."""
_HOURS_OF_DAY = 24
_LEFT_MIN = 0.5


@dataclass(frozen=True, slots=True)
class ColumnRelations:
    """How the columns of a table of hours relate to each other.

    ``size_of``: for each column, the column that counts the same events (orders of a category for its
    sales; a count points to itself). ``shape_of``: for each column, the market's count whose season a
    sparse member is drawn to (that count points to itself).
    """

    size_of: Index
    shape_of: Index


@dataclass(frozen=True, slots=True)
class Season:
    """Season of every column: cells (168) x columns, each column with mean 1.

    ``left``: an hour's squared error as a part of a forecast's. It is below 1 because the cell was
    learnt from that hour too. With w hours a cell, each of weight h = own part / w, the hour's error has
    the variance 1 - 2 h + w h^2 and the forecast's error 1 + w h^2, in units of the variance of one
    hour. The forecast errs by its season too.
    """

    values: Matrix
    left: Matrix


def season_of(
    calendar: Calendar, counts: Matrix, columns: ColumnRelations, learnt: Matrix, factors: Matrix
) -> Season:
    """Season learnt from the calendar's hours. ``counts`` must be 0 wherever ``learnt`` is 0."""
    plain = learnt * factors
    blocks = calendar.blocks
    block_counts = by_group(blocks, counts, _BLOCKS)
    cell_counts = by_group(calendar.cells, counts, CELLS)
    learnt_share = by_group(blocks, learnt, _BLOCKS) / by_group(
        blocks, np.ones_like(learnt), _BLOCKS
    )
    weights = (learnt_share >= _BLOCK_SHARE_MIN).astype(np.float64)
    worth = worth_of(counts.sum(axis=0), columns)
    season = np.ones((CELLS, counts.shape[1]))
    cell_base = season
    for _ in range(1 if (plain == 1.0).all() else _PASSES):
        seasonal = plain * season[calendar.cells]
        block_base = by_group(blocks, seasonal, _BLOCKS)
        growth = _growth(block_counts + HALF * worth, block_base, weights)
        growing = _growing(calendar, growth)
        means = ratio(block_counts, by_group(blocks, seasonal * growing, _BLOCKS), empty=0.0)
        cell_base = by_group(calendar.cells, plain * growing * means[blocks], CELLS)
        season = normalised(_filled(cell_counts, cell_base))
    shape = season[:, columns.shape_of]
    expected = cell_base[:, columns.size_of] * shape
    own = expected / (expected + PRIOR_ORDERS)
    hours = by_group(calendar.cells, learnt, CELLS)
    weight = own / np.maximum(hours, 1.0)
    learning = weight * own
    left = np.maximum((1.0 - 2.0 * weight + learning) / (1.0 + learning), _LEFT_MIN)
    return Season(normalised(own * season + (1.0 - own) * shape), left)


def worth_of(totals: Vector, columns: ColumnRelations) -> Vector:
    """Mean of a column per event: 1 for a count; for sales, the worth of an order in minor units."""
    worth = ratio(totals, totals[columns.size_of], empty=1.0)
    return np.where(worth > 0, worth, 1.0)


def _growth(block_counts: Matrix, block_base: Matrix, weights: Matrix) -> Vector:
    """Log growth a day, from the means of the blocks; 0 with fewer than two blocks."""
    means = logs(block_counts / np.where(block_base > 0, block_base, 1.0))
    times: Matrix = np.arange(_BLOCKS, dtype=np.float64)[:, None] * BLOCK_DAYS
    return fit_trend(times, means, weights).slope


def _growing(calendar: Calendar, growth: Vector) -> Matrix:
    """e^(b t) of every hour, with t in days from the middle of its block."""
    sizes = np.bincount(calendar.blocks, minlength=_BLOCKS).tolist()
    rates = growth.tolist()
    steps = np.empty((max(sizes), len(rates)))
    steps[0] = 1.0
    steps[1:] = np.array([math.exp(rate / _HOURS_OF_DAY) for rate in rates])
    powers = np.multiply.accumulate(steps, axis=0)
    found = np.empty((len(calendar.blocks), len(rates)))
    at = 0
    for size in sizes:
        half = (size - 1) / (2 * _HOURS_OF_DAY)
        found[at : at + size] = powers[:size] * np.array([math.exp(-rate * half) for rate in rates])
        at += size
    return found


def _filled(cell_counts: Matrix, cell_base: Matrix) -> Matrix:
    """Season of each cell. A cell never learnt gets hour of day x day of week of the others."""
    known = cell_base > 0
    season = ratio(cell_counts, cell_base, empty=0.0)
    if known.all():
        return season
    week = (7, _HOURS_OF_DAY, season.shape[1])
    counts, base = cell_counts.reshape(week), cell_base.reshape(week)
    overall = ratio(counts.sum(axis=(0, 1)), base.sum(axis=(0, 1)), empty=1.0)
    of_hour = ratio(counts.sum(axis=0), base.sum(axis=0), empty=1.0)
    of_day = ratio(counts.sum(axis=1), base.sum(axis=1), empty=1.0)
    product = of_day[:, None, :] * of_hour[None, :, :] / np.where(overall > 0, overall, 1.0)
    return np.where(known, season, product.reshape(season.shape))


def normalised(season: Matrix) -> Matrix:
    """Season scaled to mean 1 over the week; all ones in a column without events."""
    mean = season.sum(axis=0) / CELLS
    return np.where(mean > 0, season / np.where(mean > 0, mean, 1.0), 1.0)
