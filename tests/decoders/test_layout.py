import pytest
import torch

from readout.decoders.layout import FeatureLayout, SignalLayout

HEIGHT, WIDTH, CHANNELS = 4, 4, 6


def test_maps_tokens_and_maps_with_channels_last_have_the_same_positions() -> None:
    maps = torch.rand(2, CHANNELS, HEIGHT, WIDTH)
    last = maps.permute(0, 2, 3, 1)
    tokens = torch.cat([torch.rand(2, 3, CHANNELS), last.flatten(1, 2)], dim=1)  # a class token and two registers
    expected = last.flatten(1, 2)
    for feature in (maps, last.contiguous(), tokens):
        layout = FeatureLayout(feature.shape[1:])
        assert layout.grid == (HEIGHT, WIDTH)
        assert layout.size == CHANNELS
        assert torch.equal(layout.positions(feature), expected)


@pytest.mark.parametrize(("shape", "flat"), [((12,), False), ((2, 3, 4, 5), False), ((3, 4, 5), True)])
def test_anything_else_is_one_position(shape: tuple[int, ...], flat: bool) -> None:
    feature = torch.rand(2, *shape)
    layout = FeatureLayout(shape, flat)
    assert layout.grid is None
    assert torch.equal(layout.positions(feature), feature.flatten(1).unsqueeze(1))


@pytest.mark.parametrize("grid", [(4, 4), (2, 4), None])
def test_an_image_is_its_parts(grid: tuple[int, int] | None) -> None:
    image = torch.rand(2, 3, 8, 16)
    layout = SignalLayout((3, 8, 16), grid)
    parts = layout.parts(image)
    assert parts.shape == (2, 1 if grid is None else grid[0] * grid[1], layout.size)
    if grid != (4, 4):  # 4 does not grow to 8 and 16 by the same factor
        assert torch.equal(layout.join(parts), image)


def test_a_part_is_the_patch_at_its_position() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:6, 2:4] = 1
    parts = SignalLayout((3, 8, 8), (4, 4)).parts(image)
    assert parts.sum(2).view(4, 4).nonzero().tolist() == [[2, 1]]
    assert (parts[0, 2 * 4 + 1] == 1).all()


@pytest.mark.parametrize("grid", [(7, 7), (20, 20), (3, 5)])
def test_images_of_other_sizes_are_resized(grid: tuple[int, int]) -> None:
    layout = SignalLayout((1, 16, 16), grid)
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    joined = layout.join(layout.parts(ramp))
    assert joined.shape == ramp.shape
    assert (joined - ramp).abs().max() < 0.05
