"""When codes are not recovered, is it the encoder, the dictionary, or the samples?

    python -m experiments.dictionary_learning --scale cpu

Barin Pacela et al. (2026) find that autoencoders learn wrong dictionaries, that iterations on those don't help, and
that an oracle with the true one recovers nearly everything, in distribution and out of it: latent 0 with partners that
it was never seen with. Here the same setting is learnt by more methods, and from more and fewer samples. Run again to
resume.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from experiments.shared.dictionaries import code_mcc, dictionary_mcc, infer
from experiments.shared.harness import Experiment, begin, style
from experiments.shared.worlds import affine_fit
from experiments.summaries.dictionary_learning import conclude, draw
from readout.codes import FISTA, Coder, Dictionary, GaussianDictionary, LearnedEncoder, ReLUEncoder, Superposition
from readout.codes import TopKEncoder as TopK
from readout.data import InputData, Sample
from readout.learning import Activations, AlternatingLearner, DictionaryLearner, SparseAutoencoder
from readout.metrics import dictionary_mcc_chance, mcc_chance

PARTNERS = 5
"""Latents that latent 0 is not seen with: 1 to 5."""


@dataclass(frozen=True)
class Size:
    """N latents, of which K are active."""

    atoms: int
    active: int
    samples: tuple[int, ...]
    """Numbers of samples to learn from; every method is tried with the one that is ``asked``."""
    asked: int
    alternations: int = 100
    iterations: int = 30
    """FISTA's per alternation."""

    @property
    def dimensions(self) -> int:
        """M = ⌈2 K ln(N/K)⌉, as in the paper."""
        return math.ceil(2 * self.active * math.log(self.atoms / self.active))


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    sizes: tuple[Size, ...]
    seeds: int
    steps: int
    """Of autoencoders."""
    tested: int = 1000


SAMPLES = (250, 500, 1000, 2500, 5000)
SCALES = {
    "smoke": Scale((Size(20, 2, (100, 400), 400, 60),), 1, 200, 300),
    "cpu": Scale(
        (
            Size(100, 10, SAMPLES, 2500),
            Size(300, 10, SAMPLES[-2:], 2500),
            Size(1000, 10, (2500, 10_000), 2500, alternations=50, iterations=15),
        ),
        *(1, 3000),
    ),
    "paper": Scale(
        (Size(100, 10, SAMPLES, 2500, 300), Size(1000, 10, (2500, 10_000, 40_000), 2500, 300)), seeds=5, steps=20_000
    ),
}


class Codes(InputData):
    """Codes with K active latents, uniform in (0, 1], in which latent 0 never, or always, meets one of its partners."""

    def __init__(self, size: Size, count: int, seed: int, together: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        ranks = torch.rand(count, size.atoms, generator=generator)
        first = ranks.argsort(1)[:, : size.active]
        meets = (first == 0).any(1) & ((first > 0) & (first <= PARTNERS)).any(1)
        if together:
            partner = torch.randint(1, PARTNERS + 1, (count,), generator=generator)
            ranks[:, 0] = -1
            ranks[torch.arange(count), partner] = -1
        else:
            ranks[meets, 0] = 2  # the next latent in line takes its place
        places = ranks.argsort(1)[:, : size.active]
        values = 1 - torch.rand(count, size.active, generator=generator)
        self.codes = torch.zeros(count, size.atoms).scatter_(1, places, values)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"code_{index:06}", self.codes[index])


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn every size by every method, and write tables, figure and sentences."""
    experiment = begin("dictionary_learning", __doc__, SCALES, arguments)
    scale = experiment.scale
    found = pd.DataFrame(
        [row for size in scale.sizes for seed in range(scale.seeds) for row in learn_all(experiment, size, seed)]
    )
    with style():
        figure = draw(found)
    experiment.finish(found, figure, *conclude(found))


def learn_all(experiment: Experiment[Scale], size: Size, seed: int) -> list[dict[str, Any]]:
    """Return correlations of codes in and out of distribution, and of atoms, one row per (method, samples)."""
    scale = experiment.scale
    true = GaussianDictionary(size.atoms, size.dimensions, seed)
    tested = {name: Codes(size, scale.tested, 1000 + seed, name == "outside").codes for name in ("inside", "outside")}

    def learnt(learner: DictionaryLearner, samples: int, steps: int) -> Dictionary:
        inputs = Codes(size, round(samples / 0.9), 2000 + seed, False)
        data = Activations(Superposition(true), "superposition", inputs, rows=2 * samples, standardise=False)
        name = f"learnt/N={size.atoms} {_named(learner)} {samples} {seed}"
        return experiment.learn(name, learner, data, steps).dictionary

    def row(method: str, samples: int, scores: Mapping[str, float]) -> dict[str, Any]:
        what = {"atoms": size.atoms, "dimensions": size.dimensions, "method": method, "samples": samples, "seed": seed}
        return {**what, **scores}

    def read(dictionary: Dictionary, coder: Coder) -> dict[str, float]:
        found = {name: mcc(codes, infer(dictionary, coder, true.decode(codes), 300)) for name, codes in tested.items()}
        return {**found, "dictionary": dictionary_mcc(true.atoms, dictionary.atoms)}

    rows = [row("oracle", 0, read(true, FISTA(0.01))), row("linear probe", size.asked, probe(size, true, tested, seed))]
    for name, encoder in (("ReLU", ReLUEncoder()), ("top-K", TopK(size.active))):
        learner = SparseAutoencoder(encoder, latents=size.atoms, penalty_weight=0.03, lr=3e-3)
        dictionary = learnt(learner, size.asked, scale.steps)
        rows.append(row(f"{name} autoencoder", size.asked, read(dictionary, LearnedEncoder())))
        rows.append(row(f"{name} autoencoder + FISTA", size.asked, read(dictionary, FISTA(0.01))))
    for samples in size.samples:
        alternating = AlternatingLearner(size.atoms, 0.03, 0.4, restarts=1, iterations=size.iterations)
        dictionary = learnt(alternating, samples, size.alternations)
        rows.append(row("alternating + FISTA", samples, read(dictionary, FISTA(0.01))))
    inside = tested["inside"]
    chance = {"codes_chance": mcc_chance(inside, true.decode(inside), encoders=5)}
    chance["dictionary_chance"] = dictionary_mcc_chance(true.atoms, draws=5)
    return [{**each, **chance} for each in rows]


def probe(size: Size, true: Dictionary, tested: Mapping[str, Tensor], seed: int) -> dict[str, float]:
    """Return what least squares from features to known codes reaches."""
    known = Codes(size, size.asked, 2000 + seed, False).codes
    fitted = affine_fit(true.decode(known), known).float()
    return {name: mcc(codes, true.decode(codes) @ fitted[:-1]) for name, codes in tested.items()}


def mcc(codes: Tensor, found: Tensor) -> float:
    """Return the MCC of codes, over the latents that are ever active."""
    return code_mcc(codes[:, (codes != 0).any(0)], found)


def _named(learner: DictionaryLearner) -> str:
    return type(learner.encoder).__name__ if isinstance(learner, SparseAutoencoder) else "alternating"


if __name__ == "__main__":
    main()
