"""Trial-to-trial residuals as noise."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path
from readout.perturbations.base import DirectedPerturbation, Origin
from readout.problems.identity import tensor_digest


class ResidualPerturbation(DirectedPerturbation):
    """Noise as it was measured: residuals of repeated trials, e.g. responses to one stimulus minus their mean.

    Residuals are divided by their root mean square, so that the level sets how strong they are, and the file their
    direction. In expectation, a linear network with orthonormal columns W, read by least squares, has
    d_X = 1 − 1/√(1 + ((1 − c)⁻² − 1)·tr(WᵀΣW)/D) for residuals of covariance Σ, tr Σ = D.

    Args:
        residuals: Path of a ``.npz`` file with an array per layer, or of a ``.npy`` file for one layer; shape
            (trials, *feature_shape). Results go by its content, wherever it lies.
        draw: ``"resampled"``: one of the trials. ``"covariance"``: Gaussian with the trials' covariance.
        calibration: See :class:`DirectedPerturbation`.

    Raises:
        ReadoutError: if the file can't be read, an array has no trials, values that are not finite or nothing but
            zeros, or an argument is unknown. A problem is marked if its layer is not in the file or has another size.
    """

    needs_origin: ClassVar[bool] = True

    def __init__(
        self,
        residuals: str,
        draw: Literal["resampled", "covariance"] = "resampled",
        calibration: Literal["expected", "exact"] = "expected",
    ) -> None:
        super().__init__(calibration)
        check_choice("draw", draw, ("resampled", "covariance"))
        self.draw = draw
        self._arrays = _read(user_path(residuals))
        # the content in place of the path, because results' keys must not depend on where a file lies
        self.residuals = tensor_digest(sorted(self._arrays.items()))

    def direction(self, clean: Tensor, generator: torch.Generator, origin: Origin | None) -> Tensor:
        """See :class:`DirectedPerturbation`."""
        assert origin is not None
        trials = self._arrays.get(origin.layer, self._arrays.get(""))
        if trials is None:
            raise ReadoutError(f"The residuals are of layers {', '.join(self._arrays)}, and none of {origin.layer!r}.")
        if trials.shape[1] != len(clean):
            raise ReadoutError(f"Its feature has {len(clean)} dimensions, but the residuals {trials.shape[1]}.")
        if self.draw == "resampled":
            return trials[int(torch.randint(len(trials), (1,), generator=generator))]
        weights = torch.randn(len(trials), generator=generator, dtype=torch.float32).double() / len(trials) ** 0.5
        drawn: Tensor = weights @ trials
        return drawn


def _read(path: Path) -> Mapping[str, Tensor]:
    """Return residuals by layer, shape (trials, dimensions), of mean square 1; ``""`` is any layer."""
    try:
        found = np.load(path, allow_pickle=False)
        arrays = {"": found} if isinstance(found, np.ndarray) else dict(found)
        trials = {layer: torch.from_numpy(np.asarray(array, dtype=np.float64)) for layer, array in arrays.items()}
    except (OSError, ValueError, TypeError) as error:
        raise ReadoutError(
            f"{str(path)!r} can't be read as residuals ({reason(error)}); give a .npy or .npz file."
        ) from error
    for layer, array in trials.items():
        if array.ndim < 2 or not array.numel() or not array.isfinite().all() or not array.any():
            raise ReadoutError(
                f"The residuals of {layer or 'the layer'} have shape {tuple(array.shape)}, or values that are not "
                "finite or all zero; give an array of trials by dimensions."
            )
    return {layer: (flat := array.flatten(1)) / flat.square().mean().sqrt() for layer, array in trials.items()}
