"""Rules for every prior; a new class is one entry of :data:`PRIORS`."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from readout.codes import (
    FISTA,
    ISTA,
    CoordinateDescent,
    LearnedEncoder,
    MatchingPursuit,
    OnePass,
    OrthogonalMatchingPursuit,
    Refined,
    Superposition,
)
from readout.extractors import FeatureExtractor
from readout.priors import (
    CosinePixels,
    DeepImagePrior,
    Pixels,
    Prior,
    ShortlistLogits,
    TokenLogits,
    TokenSequence,
    VAEDecoder,
    VGGDecoder,
    vgg_decoder,
)
from tests.codes.helpers import with_encoder
from tests.extractors.test_sdxl_vae import save_tiny
from tests.tiny import Vocabulary, concrete_classes


class Entry(NamedTuple):
    """A tiny prior."""

    make: Callable[[Path], Prior]
    """The folder is for weights."""
    shape: tuple[int, ...]
    """Shape of one input."""
    optimised: bool = True
    """Whether it starts from its seed and descends a gradient."""
    network: FeatureExtractor | None = None
    """What it is prepared for; default: a vocabulary."""


PRIORS = {
    "pixels": Entry(lambda _: Pixels(total_variation=0.1, init_std=0.3), (3, 8, 10)),
    "free pixels": Entry(lambda _: Pixels(clamp=False), (5,)),
    "cosine pixels": Entry(
        lambda _: CosinePixels(total_variation=0.1, init_std=0.3, smoothness=0.5, half_life=3), (3, 8, 10)
    ),
    "deep image prior": Entry(lambda _: DeepImagePrior(filters=[2, 4]), (3, 8, 10)),
    "deep image prior of latents": Entry(lambda _: DeepImagePrior("latent", [2, 4], "normal"), (3, 8, 10)),
    "token logits": Entry(lambda _: TokenLogits(init_std=1.0), (4,)),
    "drawn tokens": Entry(lambda _: TokenLogits(init_std=1.0, relaxation="gumbel"), (4,)),
    "shortlist logits": Entry(lambda _: ShortlistLogits(size=4, exchanged=2, interval=1), (4,)),
    "token sequence": Entry(lambda _: TokenSequence(), (4,), optimised=False),
    "VAE decoder": Entry(lambda folder: VAEDecoder(save_tiny(folder), pretrained=False), (3, 8, 12)),
    "VGG decoder": Entry(lambda _: VGGDecoder(), (3, 16, 16)),
}
DICTIONARY = Superposition(with_encoder().double())
PRIORS |= {
    f"coder {name}": Entry(make, (12,), optimised=False, network=DICTIONARY)
    for name, make in {
        "one pass": lambda _: OnePass(active=2),
        "ista": lambda _: ISTA(),
        "fista": lambda _: FISTA(active=2),
        "coordinate descent": lambda _: CoordinateDescent(nonnegative=False),
        "matching pursuit": lambda _: MatchingPursuit(active=2),
        "learned encoder": lambda _: LearnedEncoder(active=2),
        "refined": lambda _: Refined(FISTA()),
        "orthogonal matching pursuit": lambda _: OrthogonalMatchingPursuit(active=2),
    }.items()
}
SEEDS = [5, 6, 7]


@pytest.fixture(autouse=True, scope="module")
def narrow_decoder() -> Iterator[None]:
    """A VGG decoder of few channels and random weights."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(vgg_decoder, "WIDTHS", ((512, 4), *[(4, 4)] * 7, (4, 3)))
        state = vgg_decoder._build().state_dict()
        patch.setattr(vgg_decoder, "fetch", lambda _: Path())
        patch.setattr(vgg_decoder, "load_state_dict", lambda _: state)
        yield


@pytest.fixture(params=PRIORS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Prior]:
    """Make a prior and let it start from its problems' seeds."""
    entry = PRIORS[request.param]

    def started(seeds: Sequence[int] = SEEDS) -> Prior:
        prior = entry.make(tmp_path)
        assert not any(parameter.requires_grad for parameter in prior.parameters())  # nothing that problems share
        prior.prepare_for(entry.network or Vocabulary())
        prior.initialise(seeds, torch.Size(entry.shape))
        return prior.double()

    return started


@pytest.fixture
def entry(request: pytest.FixtureRequest, start: Callable[..., Prior]) -> Entry:
    return PRIORS[request.node.callspec.params["start"]]


def descend(prior: Prior, steps: int = 3) -> Tensor:
    """Inputs before each step of plain gradient descent, shape (steps, problems, ...)."""
    seen = []
    for _ in range(steps):
        inputs = prior()
        seen.append(inputs.detach().clone())
        learned = [parameter for parameter in prior.parameters() if parameter.requires_grad]
        if inputs.requires_grad:
            loss = (inputs - 0.3).square().sum() + prior.penalty(inputs).sum()
            for parameter, gradient in zip(learned, torch.autograd.grad(loss, learned), strict=True):
                parameter.data -= 0.05 * gradient
    return torch.stack(seen)


def test_every_class_has_an_entry(tmp_path: Path) -> None:
    assert {type(entry.make(tmp_path / name)) for name, entry in PRIORS.items()} == concrete_classes(Prior)


def test_a_problem_descends_alone_as_in_a_batch(start: Callable[..., Prior], entry: Entry) -> None:
    together = descend(start())
    for place, seed in enumerate(SEEDS):
        torch.testing.assert_close(descend(start([seed]))[:, 0], together[:, place], rtol=1e-9, atol=1e-12)
    assert (together[0, 0] != together[0, 1]).any() == entry.optimised
    assert (together[0] != together[-1]).any() == entry.optimised


def test_seeds_alone_decide_where_problems_start(start: Callable[..., Prior]) -> None:
    before = torch.get_rng_state()
    first = start()()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(start()(), first)


def test_problems_leave_and_the_others_go_on(start: Callable[..., Prior]) -> None:
    expected = descend(start(), 4)[2:]
    prior, rows = start(), torch.tensor([0, 2])
    descend(prior, 2)
    parameters = list(prior.parameters())
    left = prior.keep(rows)
    assert all(one is other for one, other in zip(prior.parameters(), parameters, strict=True))
    torch.testing.assert_close(descend(prior, 2), expected[:, rows] if left else expected, rtol=1e-9, atol=1e-12)


def test_a_run_resumes_from_its_state(start: Callable[..., Prior]) -> None:
    first, second, rows, file = start(), start(), torch.tensor([0, 2]), io.BytesIO()
    descend(first)
    for prior in (first, second):
        prior.keep(rows)
    torch.save(first.progress(), file)
    file.seek(0)
    second.resume(torch.load(file, weights_only=True))
    assert torch.equal(descend(second), descend(first))


def test_inputs_that_were_taken_do_not_change_with_the_next_step(start: Callable[..., Prior]) -> None:
    prior = start()
    taken = prior().detach()
    before = taken.clone()
    descend(prior)
    assert torch.equal(taken, before)


def test_what_is_read_out_has_the_inputs_shape_and_verdicts_are_each_problems_own(
    start: Callable[..., Prior], entry: Entry
) -> None:
    prior = start()
    inputs = prior().detach()
    assert prior.read_out(inputs).shape == (3, *entry.shape)
    for judge in (prior.penalty, prior.is_dead):
        verdicts = judge(inputs)
        assert verdicts.shape == (3,)
        torch.testing.assert_close(verdicts[1:2], judge(inputs[1:2]))


def test_laying_out_memory_changes_no_input(start: Callable[..., Prior]) -> None:
    laid_out = start()
    laid_out.lay_out(torch.device("cpu"))
    torch.testing.assert_close(descend(laid_out), descend(start()), rtol=1e-9, atol=1e-12)


def test_a_fingerprint_is_that_of_what_problems_share(start: Callable[..., Prior]) -> None:
    prior = start()
    before = prior.fingerprint()
    assert start([9]).fingerprint() == before
    descend(prior)
    assert prior.fingerprint() == before
    shared = [parameter for parameter in prior.parameters() if not parameter.requires_grad]
    if before:
        shared[-1].data += 1
        assert prior.fingerprint() != before
