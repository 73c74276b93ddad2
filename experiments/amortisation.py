"""What does one pass lose against iterations: in correlation with the true latents, and in how far a feature can move?

    python -m experiments.amortisation --scale cpu

O'Neill, Gumran & Klindt (2025) train encoders and dictionaries on K of N non-negative latents in M dimensions in three
regimes: codes known, dictionary known, both unknown. Here the same regimes are read by more coders, beside what nothing
learnt and the best linear readout reach; the start of alternating sparse coding is chosen by its objective. Then, where
atoms are four times the dimensions, sizes of codes say in d_H what encoders lose. Run again to resume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.optim import Adam

from experiments.shared.dictionaries import code_mcc, dictionary_mcc, drawn, infer, size_of_codes
from experiments.shared.harness import Experiment, begin, style
from experiments.summaries.amortisation import conclude, draw
from readout.code_theory import linear_code_bound
from readout.codes import (
    FISTA,
    Coder,
    Dictionary,
    Encoder,
    GaussianDictionary,
    LearnedEncoder,
    MLPEncoder,
    OnePass,
    OrthogonalMatchingPursuit,
    Refined,
    ReLUEncoder,
    SparseCodes,
    Superposition,
    TopKEncoder,
    UnrolledEncoder,
)
from readout.learning import Activations, AlternatingLearner, DictionaryLearner, SparseAutoencoder
from readout.metrics import dictionary_mcc_chance, mcc_chance
from readout.sweep.runtime import Runtime


@dataclass(frozen=True)
class Regimes:
    """O'Neill et al.'s setting."""

    atoms: int
    dimensions: int
    active: int
    seeds: int
    steps: int
    alternations: int
    restarts: int = 8
    penalty: float = 0.01


@dataclass(frozen=True)
class Sizes:
    """Codes whose sizes are measured: latents are 1 or 0."""

    atoms: int
    dimensions: int
    active: int
    dictionaries: int
    codes: int
    trained: int
    steps: int
    levels: tuple[float, ...]
    penalty: float = 0.3


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    regimes: Regimes
    sizes: Sizes


LEVELS = tuple(round(0.02 * step, 2) for step in range(21))
SCALES = {
    "smoke": Scale(Regimes(16, 8, 3, 1, 60, 80, 2), Sizes(64, 32, 2, 1, 40, 500, 60, LEVELS[::4])),
    "cpu": Scale(Regimes(16, 8, 3, 3, 3000, 200), Sizes(256, 64, 4, 3, 200, 20_000, 3000, LEVELS)),
    "paper": Scale(Regimes(16, 8, 3, 5, 20_000, 500), Sizes(16_384, 768, 34, 3, 1000, 10**6, 50_000, LEVELS)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure correlations in three regimes, and sizes by coder."""
    experiment = begin("amortisation", __doc__, SCALES, arguments)
    scale = experiment.scale
    found = pd.DataFrame([row for seed in range(scale.regimes.seeds) for row in regimes(experiment, seed)])
    sizes = pd.DataFrame([row for seed in range(scale.sizes.dictionaries) for row in code_sizes(experiment, seed)])
    experiment.store.write_text("sizes.csv", sizes.to_csv(index=False))
    with style():
        figure = draw(found, sizes)
    experiment.finish(found, figure, *conclude(found, sizes))


def regimes(experiment: Experiment[Scale], seed: int) -> list[dict[str, Any]]:
    """Return the correlations of codes and atoms, one row per (regime, method), with what nothing learnt reaches."""
    scale = experiment.scale.regimes
    true = GaussianDictionary(scale.atoms, scale.dimensions, seed)
    network = Superposition(true)
    codes, unseen = (drawn(SparseCodes(1024, scale.active, seed=2 * seed + part), network) for part in range(2))
    given, feature = true.decode(codes), true.decode(unseen)

    def learnt(name: str, learner: DictionaryLearner, steps: int) -> Dictionary:
        inputs = SparseCodes(1138, scale.active, seed=2 * seed)
        data = Activations(network, "superposition", inputs, standardise=False)
        return experiment.learn(f"learnt/{name} {seed}", learner, data, steps).dictionary

    def autoencoder(name: str, encoder: Encoder, known: bool) -> Dictionary:
        atoms: dict[str, Any] = {"dictionary": true} if known else {"latents": scale.atoms}
        return learnt(name, SparseAutoencoder(encoder, penalty_weight=scale.penalty, **atoms), scale.steps)

    def row(regime: str, method: str, dictionary: Dictionary, coder: Coder, steps: int = 500) -> dict[str, Any]:
        codes = code_mcc(unseen, infer(dictionary, coder, feature, steps))
        scores = {"codes": codes, "dictionary": dictionary_mcc(true.atoms, dictionary.atoms)}
        return {"regime": regime, "method": method, "seed": seed, **scores}

    def fista() -> FISTA:
        return FISTA(scale.penalty)

    relu, mlp = (supervised(encoder, true, given, codes, scale.steps) for encoder in (ReLUEncoder(), MLPEncoder(256)))
    known = {name: autoencoder(name, encoder, True) for name, encoder in encoders(0.1).items()}
    both = autoencoder("ReLU autoencoder", ReLUEncoder(), False)
    top = autoencoder("top-K autoencoder", TopKEncoder(scale.active), False)
    alternating = AlternatingLearner(scale.atoms, 0.03, 0.1, restarts=scale.restarts)
    third = learnt("alternating", alternating, scale.alternations)
    rows = [
        row("codes known", "ReLU encoder", relu, LearnedEncoder()),
        row("codes known", "perceptron", mlp, LearnedEncoder()),
        row("dictionary known", "one pass", true, OnePass(scale.active)),
        *(row("dictionary known", name, dictionary, LearnedEncoder()) for name, dictionary in known.items()),
        row("dictionary known", "ReLU encoder + 10 of FISTA", known["ReLU encoder"], Refined(fista()), 11),
        row("dictionary known", "LISTA + 10 of FISTA", known["LISTA"], Refined(fista()), 11),
        row("dictionary known", "10 of FISTA", true, fista(), 10),
        row("dictionary known", "FISTA", true, fista()),
        row("both unknown", "ReLU autoencoder", both, LearnedEncoder()),
        row("both unknown", "ReLU autoencoder + FISTA", both, fista()),
        row("both unknown", "top-K autoencoder", top, LearnedEncoder()),
        row("both unknown", "top-K autoencoder + FISTA", top, fista()),
        row("both unknown", "alternating + FISTA", third, fista()),
    ]
    chance = {"codes_chance": mcc_chance(unseen, feature), "dictionary_chance": dictionary_mcc_chance(true.atoms)}
    linear = 1 - linear_code_bound(scale.atoms, scale.dimensions)
    return [{**each, **chance, "best_linear": float(linear)} for each in rows]


def code_sizes(experiment: Experiment[Scale], seed: int) -> list[dict[str, Any]]:
    """Return the sizes of codes by coder, with encoders that learnt codes of moved features for this dictionary."""
    scale = experiment.scale.sizes
    true = GaussianDictionary(scale.atoms, scale.dimensions, seed)
    inputs = SparseCodes(scale.trained, scale.active, "equal", seed=1000 + seed)
    learnt: dict[str, Dictionary] = {}
    for name, encoder in encoders(scale.penalty).items():
        learner = SparseAutoencoder(
            encoder, dictionary=true, penalty_weight=scale.penalty, levels=(0, scale.levels[-1])
        )
        data = Activations(Superposition(true), "superposition", inputs, standardise=False)
        learnt[name] = experiment.learn(f"learnt/size {name} {seed}", learner, data, scale.steps).dictionary

    def fista() -> FISTA:
        return FISTA(scale.penalty, scale.active)

    coders: Mapping[str, tuple[Dictionary, Coder, int]] = {
        "one pass": (true, OnePass(scale.active), 1),
        **{name: (dictionary, LearnedEncoder(scale.active), 1) for name, dictionary in learnt.items()},
        "10 of FISTA": (true, fista(), 10),
        **{f"{name} + 10 of FISTA": (dictionary, Refined(fista()), 11) for name, dictionary in learnt.items()},
        "FISTA": (true, fista(), 200),
        "OMP": (true, OrthogonalMatchingPursuit(scale.active), scale.active),
    }
    rows = []
    for name, (dictionary, coder, steps) in coders.items():
        codes = SparseCodes(scale.codes, scale.active, "equal", seed=seed)
        folder = f"sizes/{name} {seed}"
        size, _ = size_of_codes(experiment, folder, dictionary, coder, steps, codes, scale.levels, seed)
        rows.append({"coder": name, "dictionary": seed, "size": size})
    return rows


def encoders(penalty: float) -> dict[str, Encoder]:
    """Return the encoders to train, by name."""
    return {"ReLU encoder": ReLUEncoder(), "perceptron": MLPEncoder(256), "LISTA": UnrolledEncoder(10, penalty)}


class Supervised(LightningModule):
    """Training of an encoder on known codes, by their cosine."""

    def __init__(self, encoder: Encoder, atoms: Tensor, feature: Tensor, codes: Tensor) -> None:
        super().__init__()
        self.encoder, self.atoms, self.feature, self.codes = encoder, atoms, feature, codes

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return 1 − the mean cosine, on all codes."""
        return 1 - cosine_similarity(self.encoder(self.feature, self.atoms), self.codes, eps=1e-6).mean()

    def configure_optimizers(self) -> Adam:
        """Return Adam."""
        return Adam(self.encoder.parameters(), lr=3e-3)


def supervised(encoder: Encoder, true: Dictionary, feature: Tensor, codes: Tensor, steps: int) -> Dictionary:
    """Return the dictionary with an encoder that was trained on known codes."""
    encoder.build(true.atoms)
    trainer = Runtime({"accelerator": "cpu"}).make_bare_trainer(max_steps=steps)
    trainer.fit(Supervised(encoder, true.atoms, feature, codes), range(steps))
    return Dictionary(true.atoms, encoder=encoder)


if __name__ == "__main__":
    main()
