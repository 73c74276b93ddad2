import logging
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from readout.decoders import DecoderNetwork, DecoderTraining
from readout.extractors import OrthonormalLinear
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation, Perturbation, noise_to_signal
from readout.representation import wiener_distance
from tests.tiny import TinyNet

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def trainer(steps: int, *callbacks: Callback, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoints = {"enable_checkpointing": False}
    return Trainer(max_steps=steps, accelerator="cpu", callbacks=list(callbacks), **{**quiet, **checkpoints, **options})


def tiny(steps: int = 8, perturbation: Perturbation | None = None, count: int = 40, **options: Any) -> DecoderTraining:
    coarse = torch.rand(count, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    inputs = torch.nn.functional.interpolate(coarse, size=8, mode="bilinear", align_corners=False)
    network = DecoderNetwork((8, 8, 8), (3, 8, 8), width=8, blocks=1)
    return DecoderTraining(TinyNet(), "early", inputs, network, perturbation, steps=steps, batch_size=4, **options)


def trained(training: DecoderTraining) -> dict[str, Tensor]:
    trainer(training.steps).fit(training, range(training.steps))
    return training.weights()


def test_a_linear_network_is_read_as_by_wieners_filter() -> None:
    dimension, levels = 48, (0.0, 0.3, 0.5, 0.7, 0.9)
    variances = 1 / torch.arange(1, dimension + 1)
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + torch.randn(3000, dimension, generator=generator) * variances.sqrt()
    extractor = OrthonormalLinear((dimension,), expansion=4)
    network = DecoderNetwork((4 * dimension,), (dimension,))
    training = DecoderTraining(extractor, "linear", x[:2000], network, steps=150, batch_size=32)
    trained(training)
    unseen, h = x[2000:], extractor.extract(x[2000:], "linear")
    back = extractor.network.get_parameter("1.weight")
    for level in levels:
        noise = noise_to_signal(level) ** 2 * variances.sum() / h.shape[1]
        moved = h + noise.sqrt() * torch.randn(h.shape, generator=generator)
        best = 0.5 + (moved @ back) * variances / (variances + noise)
        pooled = correlation_distance(best.view(1, -1), unseen.view(1, -1)).item()
        assert pooled == pytest.approx(float(wiener_distance(level, variances.numpy(), 4)), abs=0.01)
        with torch.no_grad():
            found = correlation_distance(training.network(moved), unseen).mean().item()
        assert found == pytest.approx(correlation_distance(best, unseen).mean().item(), abs=0.02)


def test_training_lowers_the_distance_of_inputs_that_it_has_not_seen() -> None:
    class Distances(Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            assert "train_loss" in trainer.callback_metrics
            if (distance := trainer.callback_metrics.get("validation_distance")) is not None:
                self.seen.append(float(distance))

    training, distances = tiny(60, count=200, lr=5e-3), Distances()
    trainer(60, distances).fit(training, range(60))
    assert len(training.unseen) == 25
    assert len(set(distances.seen)) == 10
    assert distances.seen[-1] < 0.9 * distances.seen[0]
    assert float(training.validate()) == pytest.approx(distances.seen[-1], abs=0.02)


def test_it_follows_from_the_seed() -> None:
    first = trained(tiny())
    torch.manual_seed(5)
    again, other = trained(tiny()), trained(tiny(seed=1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["residual.last.weight"], other["residual.last.weight"])


def test_every_input_is_seen_once_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    training = tiny(steps=16)  # two epochs of 35 inputs, of which 8 · 4 are taken
    seen: list[Tensor] = []
    extract = training.extractor.extract

    def spy(x: Tensor, layer: str) -> Tensor:
        seen.append(x)
        return extract(x, layer)

    training.unseen = training.unseen[:0]
    training.network.fit_statistics(extract(training.inputs, "early"), training.inputs)
    monkeypatch.setattr(training, "on_train_start", lambda: None)
    monkeypatch.setattr(training.extractor, "extract", spy)
    trained(training)
    # mirroring keeps the sum of a row of pixels
    sums = [[round(float(x.sum()), 3) for x in torch.cat(seen[epoch * 8 : epoch * 8 + 8])] for epoch in (0, 1)]
    known = {round(float(x.sum()), 3) for x in training.inputs}
    for epoch in sums:
        assert len(set(epoch)) == 32
        assert set(epoch) <= known
    assert sums[0] != sums[1]
    mirrored = [not any(torch.equal(x, known) for known in training.inputs) for x in torch.cat(seen)]
    assert 10 < sum(mirrored) < 54


def test_levels_and_noise_are_those_asked_for() -> None:
    training = tiny(levels=(0.2, 0.8))
    h = 2 * torch.randn(6, 50_000, generator=torch.Generator().manual_seed(0)) + 1
    levels = torch.tensor([0.0, 0.2, 0.5, 0.7, 0.9, 0.97])
    moved = training._move(h, levels, torch.Generator().manual_seed(1))
    noise = (moved - h).std(1)
    expected = [2 * noise_to_signal(float(level)) for level in levels]
    assert noise.tolist() == pytest.approx(expected, rel=0.02)
    by_rule = GaussianPerturbation()(h, levels, range(6))
    assert (by_rule - h).std(1).tolist() == pytest.approx(noise.tolist(), rel=0.02)


def test_any_perturbation_is_asked_with_levels_in_the_range_and_fresh_seeds() -> None:
    class Recorded(Perturbation):
        def __init__(self) -> None:
            self.levels: list[float] = []
            self.seeds: list[int] = []

        def __call__(self, feature: Tensor, levels: Tensor, seeds: Any, mask: Tensor | None = None) -> Tensor:
            self.levels += levels.tolist()
            self.seeds += seeds
            return feature + 1

    perturbation = Recorded()
    training = tiny(8, perturbation, levels=(0.2, 0.8))
    training.unseen = training.unseen[:0]
    trained(training)
    assert len(perturbation.levels) == len(set(perturbation.seeds)) == 32
    # one in each quarter of the range per step
    quarters = [int((level - 0.2) / 0.15) for level in perturbation.levels]
    assert quarters == [0, 1, 2, 3] * 8


def test_large_gradients_are_cut() -> None:
    class Norms(Callback):
        def __init__(self) -> None:
            self.before: list[float] = []
            self.after: list[float] = []

        def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
            gradients = [p.grad for p in pl_module.network.residual.parameters() if p.grad is not None]
            for gradient in gradients:
                gradient.mul_(1000 if len(self.before) % 2 else 1e-3)
            self.before.append(_norm(gradients))

        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            self.after.append(_norm([p.grad for p in pl_module.network.residual.parameters() if p.grad is not None]))

    norms = Norms()
    training = tiny(4)
    trainer(4, norms).fit(training, range(4))
    assert norms.after[0::2] == pytest.approx(norms.before[0::2])
    assert all(before > 1 for before in norms.before[1::2])
    assert norms.after[1::2] == pytest.approx([1, 1], rel=1e-4)


def _norm(gradients: list[Tensor]) -> float:
    return float(torch.stack([gradient.norm() for gradient in gradients]).norm())
