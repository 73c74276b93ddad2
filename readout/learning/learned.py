"""A dictionary in a file, with its scores on rows that were held out."""

from dataclasses import dataclass

import pandas as pd

from readout.codes import StoredDictionary


@dataclass(frozen=True)
class Learned:
    """A dictionary in a file, and what it does on rows that it was not learnt from."""

    dictionary: StoredDictionary
    latents: pd.DataFrame
    """One row per latent; see :func:`readout.learning.latents.latents_table`."""
    explained_variance: float
    active: float
    """Mean number of active latents of a row."""

    @property
    def dead(self) -> int:
        """Number of latents that are never active."""
        return int(self.latents["dead"].sum())

    def __str__(self) -> str:
        count, dimensions = self.dictionary.atoms.shape
        return (
            f"{count:,} atoms of {dimensions:,} dimensions explain {self.explained_variance:.1%} of the variance of "
            f"rows that were held out, with {self.active:.1f} active latents per row; {self.dead:,} latents are never "
            "active"
        )
