import contextlib
import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from readout import callbacks, codes, data, extractors, measure, metrics, prediction, priors, readouts, representation
from readout.analysis import statistics
from readout.common.checks import (
    LARGEST_SEED,
    check_layer_names,
    check_layer_weights,
    check_number,
    check_seed,
    check_whole,
)
from readout.common.errors import ReadoutError
from readout.measurement import PlainModule
from readout.sweep import Sweep
from tests.tiny import TinyNet

WORD: Any = "hard"
ALONE: Any = 0.5
IMAGE = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))

ODD: list[Any] = [math.nan, math.inf, -math.inf, 10**400, True, "word", "1e-3", None, [1], np.array([1.0]), np.bool_(1)]
"""What is no number wherever one is wanted."""


@pytest.mark.parametrize("value", ODD)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    for check in (check_number, check_whole, check_seed):
        with pytest.raises(ReadoutError, match=r"^t is .*; give a (whole )?number.*\.$"):
            check("t", value)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), torch.tensor(2.0), Fraction(2)])
def test_numbers_of_any_library_are_numbers(value: Any) -> None:
    assert check_number("t", value) == 2


@pytest.mark.parametrize("value", [2, np.int64(2), torch.tensor(2)])
def test_whole_numbers_become_integers(value: Any) -> None:
    assert type(check_whole("t", value)) is int
    assert check_whole("t", value) == 2


def test_a_number_stays_of_its_kind() -> None:
    # an argument of 1 that came back as 1.0 would have another digest
    assert type(check_number("t", 1)) is int
    assert type(check_number("t", 1.0)) is float


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0, {"above": 0}, "t is 0; give a number above 0."),
        (1.0, {"low": 0, "below": 1}, "t is 1.0; give a number of at least 0 and below 1."),
        (-1, {"low": 0, "high": 1}, "t is -1; give a number from 0 to 1."),
        (3, {"high": 2, "hint": ", or null"}, "t is 3; give a number of at most 2, or null."),
    ],
)
def test_bounds_are_kept_and_named(value: float, bounds: dict[str, Any], words: str) -> None:
    with pytest.raises(ReadoutError) as refused:
        check_number("t", value, **bounds)
    assert str(refused.value) == words


def test_whole_numbers_and_seeds() -> None:
    assert check_whole("count", 1, 1, 1) == 1
    for count in (1.5, 2.0):
        with pytest.raises(ReadoutError, match=rf"count is {count}; give a whole number of at least 1\."):
            check_whole("count", count, 1)
    assert check_seed("seed", LARGEST_SEED) == LARGEST_SEED
    for seed in (-1, LARGEST_SEED + 1, 1e20):
        with pytest.raises(ReadoutError, match=r"seed is .*; give a whole number from 0 to 4294967295\."):
            check_seed("seed", seed)


PACKAGES = (callbacks, codes, data, extractors, metrics, prediction, priors, readouts, representation, statistics)
NEEDED: dict[str, Any] = {
    "active": 2,
    "atoms": 16,
    "coder": codes.OnePass(),
    "dimensions": 8,
    "dictionary": codes.GaussianDictionary(16, 8),
    "decoder": torch.nn.Identity(),
    "expansion": 4,
    "extractor": TinyNet(),
    "training_data": data.UniformNoise(),
    "first": [1.0, 2.0],
    "folder": str(Path(__file__).parent),
    "images": IMAGE.unsqueeze(0),
    "init_std": 1.0,
    "input_shape": (3, 4, 4),
    "layer": "early",
    "level": 0.5,
    "levels": [0.5],
    "model": torch.nn.Identity(),
    "module": torch.nn.Sequential(torch.nn.Identity()),
    "network": torch.nn.Identity(),
    "params": [torch.nn.Parameter(torch.zeros(2, 3))],
    "path": __file__,
    "prior": priors.Pixels(),
    "second": [2.0, 1.0],
    "threshold": 0.1,
    "source": data.UniformNoise(),
    "values": [1.0, 2.0],
    "weights": "/nowhere",
    "x": IMAGE,
    "y": [1.0, 2.0, 3.0],
}
"""What constructors and functions need besides the number in question."""

OF: dict[Any, dict[str, Any]] = {
    codes.Dictionary: {"atoms": torch.eye(3)},
    metrics.mcc_chance: {"codes": torch.rand(9, 4), "features": torch.rand(9, 3)},
    metrics.dictionary_mcc_chance: {"atoms": torch.eye(3)},
    metrics.k_sparse_probe: {"codes": torch.rand(9, 4), "labels": torch.arange(9) % 2, "k": 2},
    metrics.absorption: dict.fromkeys(("true", "found"), torch.rand(9, 4))
    | dict.fromkeys(("atoms", "found_atoms"), torch.rand(4, 3)),
}
"""The same where other things have these names."""

RUN = (measure, prediction.predict_size)
"""What runs at once if its numbers will do."""


def _numbers() -> Iterator[tuple[Any, str]]:
    """Every number that the package takes from a user: what takes it, and the argument's name."""
    public = [vars(package)[name] for package in PACKAGES for name in getattr(package, "__all__", ())]
    functions = [*RUN, Sweep, PlainModule, representation.linear_size]
    functions += [statistics.bootstrap_interval, statistics.paired_difference]
    for taker in dict.fromkeys([*public, *functions]):
        if inspect.isabstract(taker) or is_dataclass(taker) or taker is data.Samples:  # which no user makes
            continue
        for parameter in inspect.signature(taker).parameters.values():
            annotation = parameter.annotation
            other = parameter.name == "layers" or annotation is ArrayLike or "Callable" in str(annotation)
            if re.search(r"\b(int|float)\b", str(annotation)) and not other:
                yield taker, parameter.name


@pytest.mark.parametrize(
    ("taker", "name"), [pytest.param(*each, id=f"{each[0].__name__}-{each[1]}") for each in _numbers()]
)
def test_every_number_is_checked_where_it_is_given(taker: Any, name: str) -> None:
    parameters = inspect.signature(taker).parameters
    small = {key for key, parameter in parameters.items() if parameter.default is parameter.empty} | {
        "weights",
        "input_shape",
    }
    given = {**NEEDED, **OF.get(taker, {})}
    needed = {key: value for key, value in given.items() if key in parameters and key in small and key != name}
    several = "Sequence" in str(parameters[name].annotation) or "tuple" in str(parameters[name].annotation)
    for value in (math.nan, math.inf, -math.inf, True, "word"):
        with pytest.raises(ReadoutError, match=r"\.$"):
            taker(**needed, **{name: [value] if several else value})
    for value in () if taker in RUN or name == "seed" or "weights" in needed else (-1, 0, 1e20):
        with contextlib.suppress(ReadoutError):
            taker(**needed, **{name: [value] if several else value})


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: data.C4(limit=0), "limit is 0; give a whole number of at least 1"),
        (lambda: data.GaussianNoise(std=0), "std is 0; give a number above 0, because nothing correlates"),
        (lambda: data.Photographs([]), "names is []; give a list, such as [astronaut, "),
        (lambda: data.SampleText(max_tokens=0), "max_tokens is 0; give a whole number of at least 1"),
        (lambda: data.UniformNoise(shape=[3, 0, 4]), "A side of shape is 0; give a whole number of at least 1"),
        (
            lambda: data.Photographs(size=10**6),
            "size is 3 × 1000000 × 1000000, of which 1 take 11,176 GiB",
        ),
        (lambda: extractors.OrthonormalLinear(expansion=0.5), "expansion is 0.5; give a number of at least 1"),
        (lambda: priors.Pixels(total_variation=-1), "total_variation is -1; give a number of at least 0"),
        (lambda: priors.TokenLogits(temperature=0), "temperature is 0; give a number above 0"),
        (lambda: priors.TokenLogits(relaxation=WORD), "relaxation is 'hard'; choose 'softmax' or 'gumbel'"),
        (lambda: Sweep(levels=ALONE), "levels is 0.5; give a list, such as [0, 0.5, 0.9]"),
        (lambda: Sweep(batch_size=0), "batch_size is 0; give a whole number of at least 1, or 'auto'"),
    ],
)
def test_what_is_out_of_range_is_named_with_what_is_wanted(build: Callable[[], Any], words: str) -> None:
    with pytest.raises(ReadoutError, match=re.escape(words)):
        build()


def test_levels_of_any_library_are_levels() -> None:
    assert Sweep(levels=np.array([0.5, 0.0])).levels == Sweep(levels=torch.tensor([0.5, 0])).levels == [0.0, 0.5]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("conv1", ["conv1"]),
        (0, ["0"]),
        ("[0, 2]", ["0", "2"]),
        ("[1.10, on, null]", ["1.10", "on", "null"]),
        ([0, "2", "[a, 3]"], ["0", "2", "[a, 3]"]),  # names may have brackets
    ],
)
def test_names_of_layers_may_look_like_numbers(given: Any, names: list[str]) -> None:
    assert check_layer_names("layers", given) == names
    assert Sweep(layers=given).layers == names


@pytest.mark.parametrize("given", ["[a", "[{a: 1}]", [1.5], [True], [["a"]], [], "[]", None])
def test_what_is_no_name_of_a_layer(given: Any) -> None:
    with pytest.raises(ReadoutError, match="layers"):
        check_layer_names("layers", given)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ("{0: 1, 1.10: 0.5}", {"0": 1.0, "1.10": 0.5}),
        ({0: 2, "conv1": 1}, {"0": 2.0, "conv1": 1.0}),
        ("balanced", "balanced"),
        (None, None),
    ],
)
def test_weights_of_layers_whose_names_look_like_numbers(given: Any, weights: Any) -> None:
    assert check_layer_weights("layer_weights", given) == weights


@pytest.mark.parametrize("given", ["{0: 1", "{0: a}", {1.5: 1}, {True: 1}, {"a": None}])
def test_weights_of_no_layer_are_refused(given: Any) -> None:
    with pytest.raises(ReadoutError, match="layer_weights"):
        check_layer_weights("layer_weights", given)
