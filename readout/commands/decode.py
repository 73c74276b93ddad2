"""The command ``decode``: predict features of layers from responses, in the files that ``invert`` reads."""

import shlex
from collections.abc import Sequence
from functools import partial

import pandas as pd
from rich.table import Table

from readout.commands.encode import build
from readout.commands.invert import image_side
from readout.common.files import user_path, write_whole
from readout.common.terminal import make_console, say
from readout.encoding.decode import FEATURES, MEANS, decode, summarise, tangent_sizes
from readout.encoding.responses import read_responses
from readout.encoding.stimuli import find_stimuli, stimulus_features
from readout.sweep.runtime import quiet_lightning

OWN = ("--responses", "--layer", "--mask", "--folds", "--test", "--output")
"""Options that ``invert`` does not take, or takes in another sense."""


def run(arguments: Sequence[str]) -> None:
    """Decode features as the arguments say."""
    with quiet_lightning():
        cli = build("decode", "Predict features of layers from responses to images.", arguments)
        extractor = cli.extractor()
    config = cli.config
    responses = read_responses(config.responses, config.mask)
    test = read_responses(config.test, config.mask) if config.test else None
    names = [*responses.names, *(test.names if test else [])]
    stimuli = find_stimuli(names, config.stimuli, extractor, image_side(config, extractor))
    extractor.find_layers(stimuli[:1])
    layers, output = extractor.resolve(config.layer), user_path(config.output)
    console = make_console()
    features_of = partial(stimulus_features, extractor, stimuli=stimuli)
    with console.status("decoding"):
        decoded = decode(features_of, layers, responses, output, test, config.folds, config.seed_everything)
        summary = summarise(decoded, tangent_sizes(extractor, layers, stimuli[len(responses.names) if test else 0 :]))
    write_whole(output / "layers.csv", lambda file: summary.to_csv(file, index=False))
    console.print(_shown(summary))
    say(console, f"To see what was decoded: {_invert(arguments, config.output, config.stimuli)}")


def _shown(summary: pd.DataFrame) -> Table:
    table = Table(title="Decoded features", title_justify="left")
    for column in ("layer", "d_H", "d_H of the mean", "two-way", "tangent size", "d_H is"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for row in summary.to_dict("records"):
        means = [f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})" for name in MEANS]
        table.add_row(str(row["layer"]), *means, f"{row['tangent_size']:.3f}", str(row["position"]))
    return table


def _invert(arguments: Sequence[str], output: str, stimuli: str) -> str:
    """Return the command that inverts the decoded features with the same network."""
    kept: list[str] = []
    taken = False
    for argument in arguments:
        if argument.startswith("--"):
            taken = argument.partition("=")[0] not in (*OWN, "--stimuli")
        if taken:
            kept.append(argument)
    return shlex.join(
        ["python", "-m", "readout.cli", "invert", *kept, "--features", f"{output}/{FEATURES}", "--true", stimuli]
    )
