from collections.abc import Callable
from functools import partial

import pytest
import torch

from readout.common.errors import ReadoutError
from readout.extractors import VGG19
from readout.perturbations import GaussianPerturbation
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.readouts import FeatureInversion, ImageInversion, ProblemBatch
from readout.readouts.inversion.protocols import DiscrepancyProtocol
from readout.readouts.inversion.step import Step, StepGraph
from readout.sweep.runtime import Runtime
from tests.tiny import TinyNet

STEPS = 30
PRIORS: dict[str, Callable[[], Prior]] = {
    "pixels": lambda: Pixels(total_variation=0.1),
    "dip": lambda: DeepImagePrior(filters=(4, 8)),
}


class Recomputed(StepGraph):
    """A graph without a GPU: what a replay would compute is computed."""

    def _capture(self, step: Callable[[], Step]) -> None:
        self._step = step
        self.replays = 0

    def replay(self) -> None:
        with torch.enable_grad():
            self.captured, self.gradients = self._solve(self._step)
        self.replays += 1

    def __call__(self) -> Step:
        if not self.replays:
            self.replay()
        return super().__call__()


class ByGraph(ImageInversion):
    """Takes its steps through a graph, wherever it runs."""

    def _next_step(self) -> Step:
        self._graph = self._graph or Recomputed(self._step, list(self.prior.parameters()))
        return self._graph()


@pytest.mark.parametrize("prior", PRIORS)
def test_a_graph_of_a_step_optimises_as_the_step_does(prior: str) -> None:
    expected, found = (_solve(kind, PRIORS[prior]()) for kind in (ImageInversion, ByGraph))
    assert torch.equal(found, expected)


def test_a_part_that_cannot_be_captured_is_refused() -> None:
    with pytest.raises(ReadoutError, match="TinyNet can't run in a CUDA graph"):
        ImageInversion(TinyNet(), Pixels(), cuda_graph=True)


def test_a_graph_is_no_other_readout() -> None:
    by_graph, plain = (ImageInversion(VGG19(None), Pixels(), cuda_graph=graph) for graph in (True, False))
    assert by_graph.describe() == plain.describe()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("prior", PRIORS)
def test_on_a_gpu_the_graph_optimises_as_the_step_does_though_problems_leave(prior: str) -> None:
    expected = _solve(ImageInversion, PRIORS[prior](), "gpu")
    found = _solve(ImageInversion, PRIORS[prior](), "gpu", cuda_graph=True)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def _solve(
    kind: type[FeatureInversion], prior: Prior, accelerator: str = "cpu", cuda_graph: bool = False
) -> torch.Tensor:
    inputs = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = ProblemBatch(
        inputs=inputs,
        layer="conv1_2",
        levels=torch.tensor([0, 0.3, 0.5, 0.7, 0.8, 0.9], dtype=torch.float64),
        noise_seeds=list(range(6)),
        prior_seeds=list(range(6)),
        perturbation=GaussianPerturbation(),
    )
    optimizer = partial(torch.optim.AdamW, lr=1e-2)
    protocol = DiscrepancyProtocol()
    inversion = kind(VGG19(None), prior, optimizer=optimizer, protocol=protocol, cuda_graph=cuda_graph)
    runtime = Runtime(trainer={"accelerator": accelerator, "devices": 1, "max_steps": STEPS})
    inversion.load(batch)
    runtime.make_bare_trainer().fit(inversion, range(STEPS))
    assert inversion.outcome is not None
    return inversion.outcome.recovered
