import pytest
import torch

from readout.common.errors import ReadoutError
from readout.decoders import DecoderNetwork

SHAPES = {
    "map": ((6, 4, 4), (3, 8, 8)),
    "channels last": ((7, 7, 6), (3, 16, 16)),
    "tokens": ((17, 6), (3, 8, 8)),
    "map larger than the image": ((6, 12, 12), (1, 8, 8)),
    "flat to image": ((20,), (3, 12, 20)),
    "flat to flat": ((20,), (5,)),
    "map to flat": ((2, 3, 3), (5,)),
}
each_shape = pytest.mark.parametrize(("feature_shape", "output_shape"), SHAPES.values(), ids=SHAPES.keys())


def made(feature_shape: tuple[int, ...], output_shape: tuple[int, ...], untrained: bool = False) -> DecoderNetwork:
    """A network with statistics and, unless untrained, weights that are not 0 anywhere."""
    network = DecoderNetwork(feature_shape, output_shape, width=4, blocks=1)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, *feature_shape, generator=generator)
    network.fit_statistics(features, torch.rand(30, *output_shape, generator=generator))
    if not untrained:
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


@each_shape
def test_output_has_its_shape_and_a_gradient(feature_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
    network = made(feature_shape, output_shape)
    read = network(torch.randn(3, *feature_shape))
    assert read.shape == (3, *output_shape)
    read.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.residual.parameters())


@each_shape
def test_rows_do_not_touch_each_other(feature_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
    network = made(feature_shape, output_shape)
    scales = torch.tensor([0.01, 1.0, 30.0]).view(-1, *[1] * len(feature_shape))
    features = scales * torch.randn(3, *feature_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone = torch.cat([network(row.unsqueeze(0)) for row in features])
        torch.testing.assert_close(network(features), alone, atol=1e-5, rtol=1e-5)
        others = features.clone()
        others[1:] = 1000 * torch.randn(2, *feature_shape)
        torch.testing.assert_close(network(others)[0], alone[0], atol=1e-5, rtol=1e-5)


def test_it_starts_as_ridge_regression_at_each_position() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(50, 3, 8, 8, generator=generator)
    # each position of the feature is a linear map of a patch
    patches = torch.nn.functional.pixel_unshuffle(inputs, 2)
    features = torch.einsum("dc, bchw -> bdhw", torch.randn(30, 12, generator=generator), patches)
    network = DecoderNetwork((30, 4, 4), (3, 8, 8), width=4, blocks=1)
    network.fit_statistics(features, inputs)
    with torch.no_grad():
        read = network(features)
        noisy = network(features + 5 * torch.randn(features.shape, generator=generator))
    assert (read - inputs).std() < 0.01
    # pulled towards the mean by noise rather than driven away by it
    assert (noisy - inputs).std() < inputs.std()


@each_shape
def test_initial_weights_follow_from_the_seed(feature_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    first, state = DecoderNetwork(feature_shape, output_shape, width=4).state_dict(), torch.get_rng_state()
    torch.manual_seed(4)
    again = DecoderNetwork(feature_shape, output_shape, width=4).state_dict()
    other = DecoderNetwork(feature_shape, output_shape, width=4, seed=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["linear.weight"], other["linear.weight"])
    torch.manual_seed(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_constant_part_of_a_feature_says_nothing() -> None:
    network = made((6, 4, 4), (3, 8, 8), untrained=True)
    mean = network.whitening.mean.view(1, 6, 1, 1).expand(1, 6, 4, 4)
    read = network(mean)
    torch.testing.assert_close(read, network._to.join(network.linear.bias.expand(1, 16, -1)))


def test_more_noise_weights_components_less() -> None:
    network = made((6, 4, 4), (3, 8, 8))
    features = torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(2))
    noise = torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(3))
    weighted = [network.whitening(network._from.positions(features + by * noise)) for by in (0, 3, 100)]
    sizes = [float(each.std()) for each in weighted]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 0.05


def test_few_features_and_components_that_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    network = DecoderNetwork((3000,), (5,))
    assert network.whitening.directions.shape == (1024, 3000)
    features = torch.randn(4, 3000, generator=generator)
    network.fit_statistics(features, torch.rand(4, 5, generator=generator))
    assert network.whitening.variances.count_nonzero() == 3
    assert network(features).isfinite().all()


def test_equal_features_are_one_sentence() -> None:
    network = DecoderNetwork((6, 4, 4), (3, 8, 8), width=4)
    with pytest.raises(ReadoutError, match="features are the same"):
        network.fit_statistics(torch.ones(5, 6, 4, 4), torch.rand(5, 3, 8, 8))
