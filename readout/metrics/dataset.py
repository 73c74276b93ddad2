"""The base class of metrics that need all samples at once, and what such metrics check."""

from abc import ABC
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError


class DatasetMetric(Metric, ABC):
    """A metric of a whole data set: ``update`` adds a batch, ``compute`` scores everything added.

    A subclass declares what it keeps between batches: ``sums``, whose size does not grow with the number of samples,
    or ``tables``, which hold every row.
    """

    full_state_update = False
    is_differentiable = False
    sums: ClassVar[tuple[str, ...]] = ()
    tables: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.sums:
            # float64, because differences of large sums are taken at the end
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        for name in self.tables:
            self.add_state(name, [], dist_reduce_fx="cat")

    def add(self, **values: Tensor | float) -> None:
        """Add to sums.

        Raises:
            ReadoutError: if a shape differs from that of earlier batches.
        """
        for name, value in values.items():
            kept, new = getattr(self, name), torch.as_tensor(value)
            if kept.ndim:
                self._check_like(kept.shape, new.shape)
            setattr(self, name, kept + new)

    def keep(self, **tables: Tensor) -> None:
        """Append rows to tables.

        Raises:
            ReadoutError: if their shape differs from that of earlier batches.
        """
        for name, table in tables.items():
            kept = getattr(self, name)
            if kept:
                self._check_like(kept[0].shape[1:], table.shape[1:])
            kept.append(table.detach())

    def kept(self, name: str) -> Tensor:
        """Return all rows of a table.

        Raises:
            ReadoutError: if there are none.
        """
        rows = getattr(self, name)
        if not len(rows):
            raise ReadoutError(f"{type(self).__name__} has nothing to score; call update first.")
        table: Tensor = dim_zero_cat(rows)
        return table

    def _check_like(self, before: torch.Size, now: torch.Size) -> None:
        if before != now:
            raise ReadoutError(
                f"{type(self).__name__} got a batch of width {tuple(now)} after one of {tuple(before)}; call reset "
                "before other data."
            )


def check_rows(**tables: Tensor) -> None:
    """Check that tables are matrices of finite numbers with one row for each of the same samples.

    Args:
        tables: By the name that the user knows them by.

    Raises:
        ReadoutError: if not.
    """
    for name, table in tables.items():
        if table.ndim != 2:
            raise ReadoutError(f"{name} has shape {tuple(table.shape)}; give a matrix with one row per sample.")
        if not table.isfinite().all():
            raise ReadoutError(f"{name} has values that are NaN or infinite; leave out those samples.")
    if len({len(table) for table in tables.values()}) > 1:
        rows = " and ".join(f"{len(table)} rows of {name}" for name, table in tables.items())
        raise ReadoutError(f"There are {rows}; give them for the same samples.")


def halves(samples: int, least: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the samples to fit on and those to test on: a random half each, so that sorted data does no harm.

    Args:
        samples: Number of samples.
        least: Smallest number of samples that can be fitted.
        seed: Seed of the split.

    Raises:
        ReadoutError: if half of the samples are fewer than that, or ``seed`` is out of range.
    """
    if samples // 2 < least:
        raise ReadoutError(f"There are {samples} samples, half of them for testing; give at least {2 * least}.")
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(check_seed("seed", seed)))
    return order[: samples // 2], order[samples // 2 :]
