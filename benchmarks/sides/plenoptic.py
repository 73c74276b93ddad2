"""plenoptic's ``Metamer``: pixels of one image, no prior, the network cut at the layer."""

import warnings

import torch
from plenoptic import Metamer
from torch import Tensor, nn

from benchmarks.pace import Pace
from benchmarks.work import LEARNING_RATE, Work, network, photograph


def run(work: Work) -> None:
    """Synthesise one metamer."""
    warnings.simplefilter("ignore")
    extractor = network(work)
    image = photograph(work, extractor).to(work.device).unsqueeze(0)
    pace = Pace(1, work.device)

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.extractor = extractor

        def forward(self, x: Tensor) -> Tensor:
            return self.extractor.extract(x, work.layer)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        if x.requires_grad:  # excludes plenoptic's checks before the first step
            pace()
        return (x - y).square().mean()

    metamer = Metamer(image, Cut().to(work.device).eval(), loss_function=loss)
    metamer.setup(optimizer=torch.optim.AdamW, optimizer_kwargs={"lr": LEARNING_RATE})
    metamer.synthesize(max_iter=10**9, stop_criterion=0.0)
