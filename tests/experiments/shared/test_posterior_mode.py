import torch

from experiments.shared.posterior_mode import posterior_mode
from readout.extractors import OrthonormalLinear
from readout.prediction import NaturalImages


def test_for_a_linear_network_it_is_the_posterior_mean() -> None:
    extractor = OrthonormalLinear((3, 8, 8), expansion=2).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 8, 8, generator=generator, dtype=torch.float64)
    prior, variance = NaturalImages(x), 0.05
    feature = extractor.extract(x.unsqueeze(0), "linear")[0]
    perturbed = feature + variance**0.5 * torch.randn(feature.shape, generator=generator, dtype=torch.float64)
    found = posterior_mode(extractor, "linear", perturbed, variance, prior, max_iterations=300)
    weight = extractor.network.get_parameter("1.weight")
    root = prior.root(torch.eye(192, dtype=torch.float64).view(-1, 3, 8, 8)).flatten(1)
    seen = weight @ root
    missing = perturbed - extractor.extract(prior.mean.unsqueeze(0), "linear")[0]
    white = torch.linalg.solve(seen.t() @ seen + variance * torch.eye(192), seen.t() @ missing)
    torch.testing.assert_close(found, prior.mean + (root @ white).view(3, 8, 8), rtol=0, atol=1e-5)
