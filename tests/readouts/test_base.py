from collections.abc import Sequence

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from readout.common.errors import ReadoutError
from readout.metrics import PSNR, SSIM, correlation_distance
from readout.perturbations import GaussianPerturbation
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.readouts import (
    DiscrepancyProtocol,
    FeatureInversion,
    ImageInversion,
    Outcome,
    ProblemBatch,
)
from tests.helpers import runtime
from tests.tiny import Identity, TinyNet

LEVELS = [0.0, 0.3, 0.5, 0.7, 0.9]


def inputs(count: int, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def batch(rows: Sequence[int], layer: str = "middle", side: int = 16) -> ProblemBatch:
    """Problem number i is the same whatever else is in the batch."""
    return ProblemBatch(
        inputs=inputs(len(LEVELS), side)[list(rows)],
        layer=layer,
        levels=torch.tensor([LEVELS[row] for row in rows], dtype=torch.float64),
        noise_seeds=[100 + row for row in rows],
        prior_seeds=[200 + row for row in rows],
        perturbation=GaussianPerturbation(),
    )


def solve(inversion: FeatureInversion, problems: ProblemBatch, steps: int, precision: str = "32-true") -> Outcome:
    inversion.load(problems)
    runtime(steps, precision).make_bare_trainer().fit(inversion, range(steps))
    assert inversion.outcome is not None
    return inversion.outcome


def make(prior: str, lr: float, record_every: int = 1) -> ImageInversion:
    made: Prior = DeepImagePrior(filters=[8, 16]) if prior == "dip" else Pixels(total_variation=0.01)
    return ImageInversion(
        TinyNet(), made, optimizer=lambda params: AdamW(params, lr=lr), metrics=[PSNR()], record_every=record_every
    )


@pytest.mark.parametrize(
    ("prior", "precision", "lr", "bound"),
    [("dip", "64-true", 1e-3, 1e-9), ("pixels", "64-true", 1e-3, 1e-9), ("dip", "32-true", 1e-4, 1e-3)],
)
def test_a_problem_has_the_answer_it_would_have_alone(prior: str, precision: str, lr: float, bound: float) -> None:
    steps = 40
    together = solve(make(prior, lr), batch([4, 2, 0]), steps, precision).trajectory.stacked("loss")
    for place, row in enumerate([4, 2, 0]):
        alone = solve(make(prior, lr), batch([row]), steps, precision).trajectory.stacked("loss")[:, 0]
        assert len(alone) == steps + 1
        torch.testing.assert_close(together[:, place], alone, rtol=bound, atol=0)


def test_identity_with_pixels_reads_back_the_perturbed_input_itself() -> None:
    # For f(x) = x the loss is least at x̂ = h', so d_X must equal the realised d_H.
    inversion = FeatureInversion(
        Identity(), Pixels(clamp=False), optimizer=lambda params: SGD(params, lr=3 * 16 * 16 / 2), lr_schedule=None
    )
    outcome = solve(inversion, batch(range(5), layer="identity"), steps=2)
    torch.testing.assert_close(outcome.distance.double(), outcome.feature_distance, atol=1e-5, rtol=0)
    torch.testing.assert_close(outcome.recovered_feature_distance, outcome.distance)
    assert outcome.loss.max() < 1e-9


def test_the_floor_is_the_loss_at_the_true_input() -> None:
    inversion = make("pixels", 1e-3)
    problems = batch(range(5))
    outcome = solve(inversion, problems, steps=1)
    clean = inversion.extractor.extract(problems.inputs, "middle")
    perturbed = problems.perturbation(clean, problems.levels, problems.noise_seeds)
    torch.testing.assert_close(outcome.floor, (clean - perturbed).square().flatten(1).mean(1))
    torch.testing.assert_close(outcome.scale, clean.flatten(1).var(1, unbiased=False))
    torch.testing.assert_close(outcome.feature_distance, correlation_distance(clean.double(), perturbed.double()))
    assert outcome.floor[0] == 0


def test_scores_belong_to_the_recovered_input() -> None:
    inversion = ImageInversion(TinyNet(), Pixels(), optimizer=lambda params: AdamW(params, lr=0.05))
    problems = batch(range(5))
    outcome = solve(inversion, problems, steps=30)
    feature = inversion.extractor.extract(outcome.recovered, "middle")
    clean = inversion.extractor.extract(problems.inputs, "middle")
    torch.testing.assert_close(outcome.distance, correlation_distance(outcome.recovered, problems.inputs))
    torch.testing.assert_close(outcome.recovered_feature_distance, correlation_distance(feature, clean))
    torch.testing.assert_close(outcome.metrics["ssim"], SSIM().per_sample(outcome.recovered, problems.inputs))
    assert outcome.steps.tolist() == [30] * 5
    assert outcome.trajectory.steps == [0, 10, 20, 30]
    assert (outcome.best_distance <= outcome.distance).all()


def test_best_distance_is_the_least_along_the_trajectory() -> None:
    outcome = solve(make("pixels", 0.05), batch([3]), steps=60)
    curve = outcome.trajectory.stacked("distance")[:, 0]
    assert outcome.best_distance[0] == curve.min()
    assert outcome.best_step[0] == outcome.trajectory.steps[int(curve.argmin())]
    assert outcome.best_step[0] < 60  # at c = 0.7 pixels fit the noise in the end


def test_a_dip_at_a_ruinous_learning_rate_dies() -> None:
    inversion = ImageInversion(
        TinyNet(), DeepImagePrior(filters=[8, 16]), optimizer=lambda params: AdamW(params, lr=1e4)
    )
    outcome = solve(inversion, batch([0, 1]), steps=40)
    assert outcome.dead.all()


def test_schedule_is_given_the_number_of_steps() -> None:
    seen: list[int] = []

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> CosineAnnealingLR:
        seen.append(steps)
        return CosineAnnealingLR(optimizer, steps)

    inversion = ImageInversion(TinyNet(), Pixels(), lr_schedule=schedule)
    solve(inversion, batch([0]), steps=7)
    assert seen == [7]
    optimizer = inversion.trainer.optimizers[0]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_default_schedule_decays_linearly_to_zero() -> None:
    class Rates(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    rates: list[float] = []
    inversion = ImageInversion(TinyNet(), Pixels(), optimizer=lambda params: AdamW(params, lr=0.1))
    inversion.load(batch([0]))
    runtime(4).make_bare_trainer(Rates()).fit(inversion, range(4))
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_steps_are_counted_across_epochs() -> None:
    inversion = make("pixels", 1e-3)
    inversion.load(batch([0]))
    runtime(7).make_bare_trainer(limit_train_batches=3).fit(inversion, range(7))
    assert inversion.outcome is not None
    assert inversion.outcome.trajectory.steps == list(range(8))


def test_gradient_clipping_is_refused() -> None:
    inversion = make("pixels", 1e-3)
    inversion.load(batch([0]))
    with pytest.raises(ReadoutError, match="gradient_clip_val"):
        runtime(3).make_bare_trainer(gradient_clip_val=1.0).fit(inversion, range(3))


def test_a_similarity_cannot_be_the_distance() -> None:
    with pytest.raises(ReadoutError, match="ssim"):
        FeatureInversion(TinyNet(), Pixels(), metric=SSIM())


def test_describe_tells_what_decides_an_answer() -> None:
    base = make("pixels", 1e-3).describe()
    assert base == make("pixels", 1e-3).describe()
    others = [make("pixels", 1e-4), make("dip", 1e-3), make("pixels", 1e-3, record_every=2)]
    constant = make("pixels", 1e-3)
    constant.lr_schedule = None
    stopped = make("pixels", 1e-3)
    stopped.protocol = DiscrepancyProtocol()
    for other in [*others, constant, stopped]:
        assert other.describe() != base


def test_features_that_are_not_finite_are_marked_and_the_others_go_on() -> None:
    inversion = make("pixels", 1e-3)
    problems = batch([0, 1])
    problems.inputs[0, 0, 0, 0] = torch.inf
    outcome = solve(inversion, problems, 3)
    assert outcome.complete
    assert outcome.dead.tolist() == [True, False]
    assert outcome.steps.tolist() == [0, 3]
    assert outcome.reasons == {0: "its feature has values that are not finite"}
    assert outcome.loss[1].isfinite()
