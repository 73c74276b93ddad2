"""Random sparse codes."""

from typing import Literal, get_args

import torch
from torch import Tensor

from readout.codes.superposition import Superposition
from readout.common.checks import check_choice, check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.data import InputData, Sample
from readout.extractors import FeatureExtractor

Magnitudes = Literal["half_normal", "uniform", "equal"]


class SparseCodes(InputData):
    """Codes with a number of active latents in random places, as many latents as the dictionary has atoms.

    Args:
        count: Number of codes.
        active: K, number of active latents of each.
        magnitudes: Of active latents: ``"half_normal"`` (|z| of a standard normal z), ``"uniform"`` in (0, 1] or
            ``"equal"`` (1).
        nonnegative: Whether active latents are positive; otherwise signs are random.
        seed: Seed of the codes.

    Raises:
        ReadoutError: if an argument is out of range.
    """

    def __init__(
        self,
        count: int = 256,
        active: int = 3,
        magnitudes: Magnitudes = "half_normal",
        nonnegative: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.count = check_whole("count", count, 1)
        self.active = check_whole("active", active, 1)
        check_choice("magnitudes", magnitudes, get_args(Magnitudes))
        self.magnitudes = magnitudes
        self.nonnegative = nonnegative
        self.seed = check_seed("seed", seed)
        self._codes: Tensor | None = None

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Draw one code per input, with a latent for each atom.

        Raises:
            ReadoutError: if the network is no :class:`Superposition`, or has too few atoms.
        """
        if not isinstance(extractor, Superposition):
            raise ReadoutError(
                f"SparseCodes are inputs of a Superposition, not of {extractor.name}; set model.extractor to "
                "Superposition, or choose other data."
            )
        atoms = len(extractor.dictionary)
        if self.active >= atoms:
            raise ReadoutError(f"{self.active} active latents are not sparse among {atoms} atoms; lower data.active.")
        generator = torch.Generator().manual_seed(self.seed)
        places = torch.rand(self.count, atoms, generator=generator).argsort(1)[:, : self.active]
        self._codes = torch.zeros(self.count, atoms).scatter_(1, places, self._values(generator))

    def _values(self, generator: torch.Generator) -> Tensor:
        shape = self.count, self.active
        values = {
            "half_normal": lambda: torch.randn(shape, generator=generator).abs(),
            "uniform": lambda: 1 - torch.rand(shape, generator=generator),
            "equal": lambda: torch.ones(shape),
        }[self.magnitudes]()
        signs = 1 if self.nonnegative else 2 * torch.randint(2, shape, generator=generator) - 1
        return values * signs

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if self._codes is None:
            raise ReadoutError("SparseCodes don't know the number of atoms yet; call prepare_for with the network.")
        return Sample(f"code_{index:0{max(3, len(str(self.count - 1)))}}", self._codes[index])
