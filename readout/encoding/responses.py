"""Responses: what targets, such as voxels, answered to stimuli, with repeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.encoding.formats import read_table


@dataclass(frozen=True)
class Responses:
    """Responses of targets to stimuli, each shown equally often.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> signal = torch.randn(9000, 1, 2, generator=generator).double()
        >>> noise = torch.randn(9000, 4, 2, generator=generator).double()
        >>> responses = Responses([f"{place}" for place in range(9000)], signal + noise)
        >>> bool((responses.ceiling - (1 + 1 / 4) ** -0.5).abs().max() < 0.01)
        True
    """

    names: Sequence[str]
    """Name of each stimulus."""
    trials: Tensor
    """Shape (stimuli, repeats, targets), float64."""

    @cached_property
    def mean(self) -> Tensor:
        """Mean over repeats, shape (stimuli, targets)."""
        return self.trials.mean(1)

    @cached_property
    def noise(self) -> Tensor:
        """Variance of a single response about its mean σ², shape (targets,); NaN without repeats."""
        if self.trials.shape[1] == 1:
            return torch.full(self.trials.shape[2:], torch.nan, dtype=self.trials.dtype)
        return self.trials.var(1).mean(0)

    @property
    def signal(self) -> Tensor:
        """Variance S of what stimuli explain, shape (targets,); NaN without repeats."""
        return (self.mean.var(0) - self.noise / self.trials.shape[1]).clamp_min(0)

    @property
    def ceiling(self) -> Tensor:
        """Noise ceiling √(S / (S + σ²/K)): the correlation of a perfect prediction with the mean of K repeats."""
        return (self.signal / self.mean.var(0)).sqrt()

    def noise_distance(self, repeats: int) -> float:
        """Return the d_H that is expected between the mean of some repeats and its signal, over all targets."""
        return float(1 - (1 + self.noise.sum() / repeats / self.signal.sum()).rsqrt())

    def residuals(self) -> Tensor:
        """Return trials minus their mean, with the variance of single trials, shape (stimuli × repeats, targets)."""
        repeats = self.trials.shape[1]
        scale: float = (repeats / (repeats - 1)) ** 0.5
        return (self.trials - self.mean.unsqueeze(1)).flatten(0, 1) * scale

    def standardised(self, by: "Responses") -> "Responses":
        """Return the same with every target minus its mean, divided by its standard deviation, both those of ``by``.

        Raises:
            ReadoutError: if the targets are others.
        """
        own, others = self.trials.shape[2], by.trials.shape[2]
        if own != others:
            raise ReadoutError(f"The responses to test have {own} targets, but the others {others}; give the same.")
        return Responses(self.names, (self.trials - by.mean.mean(0)) / by.mean.std(0))


def read_responses(path: str | Path, mask: str | None = None) -> Responses:
    """Read and check responses.

    Args:
        path: A file of responses, samples × targets, or stimuli × repeats × targets, with a name per row. Rows of one
            name are repeats; see :func:`readout.encoding.formats.read_table` for formats.
        mask: See there.

    Raises:
        ReadoutError: if the file can't be read, or responses can't be used.

    Examples:
        >>> np.savez("responses.npz", responses=np.random.rand(4, 10), names=["cat", "dog", "cat", "dog"])
        >>> responses = read_responses("responses.npz")
        >>> responses.names, responses.trials.shape
        (['cat', 'dog'], torch.Size([2, 2, 10]))
    """
    table = read_table(user_path(path), mask)
    values, names, where = table.values, table.names, table.where
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3) or not values.size:
        raise ReadoutError(
            f"{where} has shape {values.shape} and type {values.dtype}; give numbers, samples × targets or stimuli × "
            "repeats × targets."
        )
    if len(names) != len(values):
        raise ReadoutError(
            f"{where} has {len(values)} rows, but there are {len(names)} names of stimuli; give each row one."
        )
    rows = _repeated(values, names, where)
    trials = torch.from_numpy(np.stack([np.concatenate(own) for own in rows.values()]).astype(np.float64))
    flat = trials.flatten(0, 1)
    _refuse(~flat.isfinite().all(0), where, "have responses that are NaN or infinite")
    if len(flat) > 1:
        _refuse(flat.amin(0) == flat.amax(0), where, "always give the same response")
    return Responses(list(rows), trials)


def _repeated(values: NDArray[Any], names: Sequence[str], where: str) -> dict[str, list[NDArray[Any]]]:
    """Return responses by stimulus, each (repeats, targets)."""
    rows: dict[str, list[NDArray[Any]]] = {}
    for name, row in zip(names, values, strict=True):
        rows.setdefault(name, []).append(np.atleast_2d(row))
    first, *others = rows
    for name in others:
        if len(rows[name]) != len(rows[first]):
            raise ReadoutError(
                f"{where} has {len(rows[first])} repeats of {first!r}, but {len(rows[name])} of {name!r}; give equally "
                "many of every stimulus, or the mean of each."
            )
    return rows


def _refuse(bad: Tensor, where: str, what: str) -> None:
    places = bad.nonzero().flatten().tolist()
    if places:
        listed = ", ".join(map(str, places[:5])) + (", …" if len(places) > 5 else "")
        raise ReadoutError(
            f"{len(places)} of {len(bad)} targets of {where} {what} (columns {listed}, counted from 0); leave them out."
        )
