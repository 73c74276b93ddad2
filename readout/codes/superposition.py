"""A network whose features are known sums of atoms."""

from torch import Tensor, nn

from readout.codes.dictionary import Dictionary
from readout.extractors import FeatureExtractor


class Superposition(FeatureExtractor):
    """Features h = D s of codes s: latents superposed as atoms of a dictionary. Its one layer is ``superposition``.

    Args:
        dictionary: Its atoms, one per latent.

    Examples:
        >>> import torch
        >>> from readout.codes import GaussianDictionary
        >>> network = Superposition(GaussianDictionary(atoms=16, dimensions=8))
        >>> network.extract(torch.eye(16)[:2], "superposition").shape
        torch.Size([2, 8])
    """

    def __init__(self, dictionary: Dictionary) -> None:
        count, dimensions = dictionary.atoms.shape
        linear = nn.Linear(count, dimensions, bias=False, device="meta")  # skips its own initialisation
        linear.weight = nn.Parameter(dictionary.atoms.T.contiguous())
        super().__init__(nn.Sequential(linear), layers={"superposition": "0"})
        self.dictionary = dictionary.eval()
        self.weights = f"{type(dictionary).__name__}, N={count}, M={dimensions}"

    def preprocess(self, x: Tensor) -> Tensor:
        """Return the codes as they are."""
        return x

    def example(self, size: int) -> Tensor:
        """Return one code of zeros, whatever the ``size``."""
        return self.dictionary.atoms.new_zeros(1, len(self.dictionary))
