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
from readout.encoding.formats import RESPONSES, read_tables


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

    def standardised(self) -> "Responses":
        """Return the same with every target minus its mean over stimuli, divided by its standard deviation.

        Raises:
            ReadoutError: if a target has the same mean response to all stimuli.
        """
        _refuse(self.mean.amin(0) == self.mean.amax(0), "targets respond to all stimuli alike")
        return Responses(self.names, (self.trials - self.mean.mean(0)) / self.mean.std(0))


def read_responses(path: str | Path, mask: str | None = None) -> Responses:
    """Read and check the responses in a file with one array of them; see :func:`read_regions`.

    Raises:
        ReadoutError: as there, or if there are several.

    Examples:
        >>> np.savez("responses.npz", responses=np.random.rand(4, 10), names=["cat", "dog", "cat", "dog"])
        >>> responses = read_responses("responses.npz")
        >>> responses.names, responses.trials.shape
        (['cat', 'dog'], torch.Size([2, 2, 10]))
    """
    found = read_regions(path, mask)
    if len(found) > 1:
        raise ReadoutError(f"{str(path)!r} holds {', '.join(map(repr, found))}; name one of them {RESPONSES!r}.")
    return next(iter(found.values()))


def read_regions(path: str | Path, mask: str | None = None) -> dict[str, Responses]:
    """Read and check responses, by key.

    Args:
        path: A file of responses, samples × targets, or stimuli × repeats × targets, with a name per row. Rows of one
            name are repeats; see :func:`readout.encoding.formats.read_tables` for formats.
        mask: See there.

    Raises:
        ReadoutError: if the file can't be read, or responses can't be used.
    """
    return {key: _checked(*table) for key, table in read_tables(user_path(path), mask).items()}


def _checked(where: str, values: NDArray[Any], names: Sequence[str]) -> Responses:
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3) or not values.size:
        raise ReadoutError(
            f"{where} has shape {values.shape} and type {values.dtype}; give numbers, samples × targets or stimuli × "
            "repeats × targets."
        )
    if len(names) != len(values):
        raise ReadoutError(
            f"{where} has shape {values.shape}, but there are {len(names)} names of stimuli; put stimuli first, and "
            "give each row a name."
        )
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
    trials = torch.from_numpy(np.stack([np.concatenate(own) for own in rows.values()]).astype(np.float64))
    broken = ~trials.isfinite().flatten(0, 1).all(0)
    _refuse(broken, f"targets of {where} have responses that are NaN or infinite", ", or the stimuli where they are")
    return Responses(list(rows), trials)


def _refuse(bad: Tensor, what: str, more: str = "") -> None:
    places = bad.nonzero().flatten().tolist()
    if places:
        listed = ", ".join(map(str, places[:5])) + (", …" if len(places) > 5 else "")
        raise ReadoutError(
            f"{len(places)} of {len(bad)} {what} (columns {listed}, counted from 0); leave them out{more}."
        )
