import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from readout.priors import DeepImagePrior
from readout.priors.cuda import generate, has_kernels, plain
from tests.priors.agreement import BARE, CONVOLVED, SIZES, differences, generator_differences

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    """What the kernels give on a CPU; Triton decides on its interpreter when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.priors.agreement"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@needs_triton
def test_kernels_and_their_gradients_are_those_of_plain_layers(interpreted: dict[str, Any]) -> None:
    assert len(interpreted["layers"]) == len(BARE) + len(CONVOLVED) + 3 * len(SIZES)
    far = {name: found for name, found in interpreted["layers"].items() if not max(found) < 2e-6}
    assert not far


@needs_triton
def test_a_generator_of_kernels_is_the_plain_network(interpreted: dict[str, Any]) -> None:
    far = {name: found for name, found in interpreted["generator"].items() if not found < 2e-5}
    assert not far


@pytest.mark.parametrize("shape", [(3, 16, 24), (3, 19, 21)])
def test_plain_layers_make_the_images_and_gradients_of_the_plain_network(shape: tuple[int, ...]) -> None:
    prior = DeepImagePrior(filters=[4, 8, 16])
    prior.initialise([0, 1, 2], torch.Size(shape))
    prior.double()
    target = torch.rand(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = prior.one_by_one()
    images = generate(list(prior.weights), prior.latents, 3, plain)
    torch.testing.assert_close(images, expected, rtol=1e-9, atol=1e-12)
    wanted = torch.autograd.grad((expected - target).square().sum(), list(prior.parameters()))
    found = torch.autograd.grad((images - target).square().sum(), list(prior.parameters()), allow_unused=True)
    unused = 0
    for mine, other in zip(found, wanted, strict=True):
        if mine is None:  # a bias that a norm takes away again; its gradient is nothing but rounding
            unused += 1
            assert other.abs().max() < 1e-9
        else:
            torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-10)
    assert unused == 2 * 5


def test_no_kernels_run_on_a_cpu_or_in_double_precision() -> None:
    assert not has_kernels(torch.zeros(1))
    assert not has_kernels(torch.zeros(1, dtype=torch.float64))


@needs_gpu
@pytest.mark.parametrize(
    ("dtype", "precision", "near", "gated"),
    # rounding opens and shuts ReLUs near zero, each of which changes a gradient by all that it is
    [
        (torch.float32, "highest", 5e-6, 5e-3),
        (torch.float32, "high", 2e-3, 1e-1),
        (torch.float16, "highest", 2e-3, 1e-1),
        (torch.bfloat16, "highest", 1e-2, 2e-1),
    ],
)
def test_on_a_gpu_kernels_are_as_near_as_their_precision(
    dtype: torch.dtype, precision: str, near: float, gated: float
) -> None:
    sizes = [(33, 40), (64, 64)]
    channels = [(3, 16), (16, 16), (48, 16), (16, 32), (5, 7), (96, 32), (64, 128)]
    shapes = [(*size, *pair) for size in sizes for pair in channels]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        # few pixels are left out here: of twenty, one gate is too much of a gradient
        found = differences(shapes, shapes, sizes, 3, "cuda", dtype)
    finally:
        torch.set_float32_matmul_precision(before)
    limits = {name: gated if name.startswith("convolved") else near for name in found}
    assert not {name: distances for name, distances in found.items() if not max(distances) < limits[name]}


@needs_gpu
def test_on_a_gpu_the_generator_is_the_plain_network_and_gives_the_same_twice() -> None:
    found = generator_differences((67, 64), [16, 32, 64], "cuda")
    assert found.pop("images") < 1e-5
    assert max(found.values()) < 5e-3  # rounding opens and shuts ReLUs here too
    prior = DeepImagePrior(filters=[16, 32, 64])
    prior.initialise([0, 1], torch.Size([3, 64, 64]))
    prior.to("cuda")
    runs = []
    for _ in range(2):
        images = prior()
        loss = images.square().sum()
        runs.append([images, *torch.autograd.grad(loss, list(prior.parameters()), allow_unused=True)])
    for first, second in zip(*runs, strict=True):
        assert first is second is None or torch.equal(first, second)
