import torch
from torch.optim import AdamW

from readout.perturbations import GaussianPerturbation
from readout.priors import DeepImagePrior, Pixels
from readout.problems import cross
from readout.readouts import ImageInversion, Readout
from readout.readouts.run import read
from tests.helpers import runtime
from tests.tiny import TinyNet

PROBLEMS = cross("setting", [("a", "digest a"), ("b", "digest b")], "early", [0.0, 0.5], draws=1, seed=0)
INPUTS = {name: torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}


def fit(inversion: Readout) -> None:
    runtime(20).make_bare_trainer().fit(inversion, range(20))


def test_rows_carry_their_problems() -> None:
    inversion = ImageInversion(TinyNet(), Pixels())
    rows, recovered = read(inversion, PROBLEMS, INPUTS, GaussianPerturbation(), fit)
    assert [(row["sample"], row["level"]) for row in rows] == [("a", 0.0), ("a", 0.5), ("b", 0.0), ("b", 0.5)]
    assert [row["key"] for row in rows] == [problem.key for problem in PROBLEMS]
    assert [x.shape for x in recovered] == [(3, 16, 16)] * 4
    assert all(row["restarts"] == 0 and not row["dead"] for row in rows)
    assert all(row["trajectory_step"] == [0, 10, 20] and len(row["trajectory_loss"]) == 3 for row in rows)


def test_dead_runs_start_again_from_a_fresh_seed_until_restarts_are_spent() -> None:
    seeds: list[list[int]] = []

    def counting(inversion: Readout) -> None:
        seeds.append(list(inversion.problems.prior_seeds))
        fit(inversion)

    prior = DeepImagePrior(filters=[8, 16], dead_below=10.0)  # no image has such a spread: every run is dead
    inversion = ImageInversion(TinyNet(), prior, max_restarts=2)
    rows, _ = read(inversion, PROBLEMS[:2], INPUTS, GaussianPerturbation(), counting)
    assert len(seeds) == 3
    assert len({tuple(run) for run in seeds}) == 3
    assert all(row["restarts"] == 2 and row["dead"] for row in rows)


def test_only_the_dead_start_again_and_the_living_keep_their_answer() -> None:
    class DiesOnce(Pixels):
        """The first seed of one input is fatal (levels share seeds)."""

        def initialise(self, seeds: list[int], input_shape: torch.Size) -> None:  # type: ignore[override]
            super().initialise(seeds, input_shape)
            self.fatal = torch.tensor([seed == PROBLEMS[1].prior_seed(0) for seed in seeds])

        def is_dead(self, recovered: torch.Tensor) -> torch.Tensor:
            return self.fatal

        def keep(self, rows: torch.Tensor) -> bool:
            self.fatal = self.fatal[rows]
            return super().keep(rows)

    inversion = ImageInversion(TinyNet(), DiesOnce(), optimizer=lambda params: AdamW(params, lr=0.05))
    rows, recovered = read(inversion, PROBLEMS, INPUTS, GaussianPerturbation(), fit)
    assert [row["restarts"] for row in rows] == [1, 1, 0, 0]
    assert not any(row["dead"] for row in rows)
    plain = ImageInversion(TinyNet(), Pixels(), optimizer=lambda params: AdamW(params, lr=0.05))
    expected_rows, expected = read(plain, PROBLEMS, INPUTS, GaussianPerturbation(), fit)
    torch.testing.assert_close(recovered[2:], expected[2:])
    assert rows[1]["distance"] != expected_rows[1]["distance"]
    assert rows[1]["feature_distance"] == expected_rows[1]["feature_distance"]  # the noise is the problem's own


def test_a_run_that_turns_nan_is_dead_and_leaves_its_neighbours_alone() -> None:
    class Poisoned(Pixels):
        def initialise(self, seeds: list[int], input_shape: torch.Size) -> None:  # type: ignore[override]
            super().initialise(seeds, input_shape)
            self.poison = torch.ones_like(self.pixels)
            self.poison[0] = torch.nan

        def keep(self, rows: torch.Tensor) -> bool:
            self.poison = self.poison[rows]
            return super().keep(rows)

        def forward(self) -> torch.Tensor:
            return super().forward() * self.poison

    inversion = ImageInversion(TinyNet(), Poisoned(), max_restarts=0)
    rows, recovered = read(inversion, PROBLEMS, INPUTS, GaussianPerturbation(), fit)
    assert [row["dead"] for row in rows] == [True, False, False, False]
    assert all(x.isfinite().all() for x in recovered[1:])
