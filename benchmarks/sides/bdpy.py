"""bdpy's ``FeatureInversionTask``: one image at a time, the whole network, hooks for the layer."""

import warnings

import torch
from bdpy.recon.torch.modules import ArbitraryLatent, build_encoder, build_generator
from bdpy.recon.torch.modules.critic import MSE
from bdpy.recon.torch.modules.optimizer import build_optimizer_factory
from bdpy.recon.torch.task import FeatureInversionTask
from bdpy.recon.torch.task.inversion import FeatureInversionCallback

from benchmarks.pace import Pace
from benchmarks.work import FILTERS, LEARNING_RATE, Work, network, photograph
from readout.priors.unet import UNet


def run(work: Work) -> None:
    """Invert one image, without gradients of the network's weights, which bdpy's examples compute."""
    warnings.simplefilter("ignore")
    extractor = network(work).to(work.device)
    extractor.network.requires_grad_("frozen weights" in work.without)
    image = photograph(work, extractor).to(work.device)
    encoder = build_encoder(extractor.network, [f"[{extractor.layers[work.layer]}]"])
    latent = ArbitraryLatent((1, *image.shape), torch.nn.init.uniform_)
    latent.to(work.device)
    generator = build_generator(UNet(len(image), FILTERS).to(work.device), frozen=False)
    task = FeatureInversionTask(
        encoder,
        generator,
        latent,
        MSE(),
        build_optimizer_factory(torch.optim.AdamW, lr=LEARNING_RATE),
        num_iterations=10**9,
        callbacks=_Paced(Pace(1, work.device)),
    )
    with torch.no_grad():
        target = encoder(image.unsqueeze(0))
    task(target)


class _Paced(FeatureInversionCallback):  # type: ignore[misc]
    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.pace = pace

    def on_iteration_start(self, *, step: int) -> None:
        self.pace()
