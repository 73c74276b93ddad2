"""Seconds per representation size of an image at a layer, and agreement of fast protocols with the paper's."""

import tempfile
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from benchmarks.command import fit
from benchmarks.driver import measure, quartiles
from benchmarks.options import Options
from benchmarks.suites import reference
from benchmarks.table import Table
from benchmarks.work import LEVELS
from readout.analysis.sizes import sizes_table
from readout.store import judge, load_results

PAPER_STEPS = 10_000
PROTOCOLS = ("fast.yaml", "discrepancy.yaml", "vgg_cosine.yaml")
PRECISIONS = ("32-true", "bf16-mixed")
GRID_STEP = 0.1


def run(options: Options) -> Table:
    """Time whole commands, and compare them with the paper's protocol in bdpy.

    Raises:
        Refused: if bdpy is not installed.
    """
    table = Table("Seconds to the representation size of one image at one layer, 64 pixels")
    table.note(
        f"bdpy, paper: extrapolated, {len(LEVELS)} levels × {PAPER_STEPS:,} steps × the measured time of a step. Ours: "
        f"measured, the whole command with bisection over the same {len(LEVELS)} levels, start, probing and report "
        "included, divided by its images. Inversions: the part of it spent on inversions."
    )
    table.note("Sizes compared: by the crossing estimator, which is finer than the grid of levels.")
    known = reference.load(Path(options.reference))
    if known.empty:
        table.note("No agreement: there is no run of the paper's protocol; `--only reference` makes one (hours).")
    layers = reference.LAYERS[1:2] if options.quick else reference.LAYERS
    images = reference.IMAGES[:1] if options.quick else reference.IMAGES
    for layer in layers:
        (peer,) = measure([options.work.but(side="bdpy", layer=layer)], options.pacing, options.threads)
        paper = len(LEVELS) * PAPER_STEPS / 1e3 * quartiles(peer.milliseconds())[1]
        for protocol in PROTOCOLS:
            for precision in PRECISIONS:
                with tempfile.TemporaryDirectory() as folder:
                    output, more = Path(folder), (protocol, "--trainer.precision", precision)
                    seconds = fit(output, layer, images, LEVELS, *more) / len(images)
                    inversions = load_results(output)["seconds"].sum() / len(images)
                    row = {
                        "layer": layer,
                        "protocol": protocol,
                        "precision": precision,
                        "bdpy, paper": paper,
                        "ours": seconds,
                        "times": paper / seconds,
                        "inversions": inversions,
                        "times by inversions": paper / inversions,
                    }
                    if not known.empty:
                        fit(output, layer, images, reference.LEVELS, *more, "--sweep.search", "grid")
                        row |= agreement(load_results(output), known)
                    table.add(**row)
    return table


def agreement(found: pd.DataFrame, known: pd.DataFrame) -> dict[str, object]:
    """Compare a faster protocol's sizes with the paper's, at its last step and at its best iterates.

    Args:
        found: Results of the faster protocol, one row per problem.
        known: Results of the paper's protocol, trajectories included.
    """
    problems = ["layer", "sample", "level"]
    pairs = found.merge(known, on=problems, suffixes=("", "_paper"))
    if pairs.empty:
        return {}
    threshold = float(known["threshold"].iloc[0])
    best = judge(known.assign(distance=known["best_distance"]), threshold)
    there = pairs[problems]
    sizes = {
        name: sizes_table(table.merge(there, on=problems)).set_index(["layer", "sample"])
        for name, table in (("found", found), ("end", known), ("best", best))
    }
    column = "crossing"
    apart = {name: (sizes["found"][column] - sizes[name][column]) for name in ("end", "best")}
    recovered = (pairs["distance"] < threshold) == (pairs["distance_paper"] < threshold)
    return {
        "problems": len(pairs),
        "recovered or not, as the paper's end": f"{recovered.mean():.0%}",
        "verdicts, as the paper's end": f"{(pairs['verdict'] == pairs['verdict_paper']).mean():.0%}",
        "sizes − the end's": [round(float(value), 2) for value in apart["end"]],
        "within half a step": f"{(apart['end'].abs() <= GRID_STEP / 2).mean():.0%}",
        "sizes − the best iterate's": [round(float(value), 2) for value in apart["best"]],
        "Spearman of d_X": float(spearmanr(pairs["distance"], pairs["distance_paper"]).statistic),
    }
