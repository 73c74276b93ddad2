"""Sentences of :mod:`experiments.vision_recovery`."""

import pandas as pd

from experiments.shared.statistics import holm, rank_correlation
from readout.analysis.statistics import bootstrap_interval, by_sample, paired_difference

STRONG = 0.7
"""Level up to which the paper reports recovery."""


def conclude(results: pd.DataFrame, sizes: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    dip, pixels = (sizes[sizes["readout"] == name] for name in ("dip", "pixels"))
    return _with_prior(results[results["readout"] == "dip"], dip), _without(results, dip, pixels)


def _with_prior(results: pd.DataFrame, sizes: pd.DataFrame) -> str:
    threshold = results["threshold"].iloc[0]
    listed = []
    for layer, group in sizes.groupby("layer", sort=False):
        bounds = int(group["lower_bound"].sum())
        bounded = f", {bounds} of {len(group)} lower bounds" if bounds else ""
        listed.append(f"{bootstrap_interval(group['crossing'])} at {layer}{bounded}")
    depth = {layer: place for place, layer in enumerate(dict.fromkeys(sizes["layer"]))}
    trend = rank_correlation(sizes["layer"].map(depth), sizes["crossing"], clusters=sizes["sample"].tolist()).rho
    if trend.high < 0 or trend.low > 0:
        direction = f"falls with depth (ρ = {trend})" if trend.value < 0 else f"rises with depth (ρ = {trend})"
    else:
        direction = "shows no certain trend with depth"
    near = min(results["level"].unique(), key=lambda level: abs(level - STRONG))
    at_strong = results[results["level"] == near].groupby("layer", sort=False)["distance"].mean()
    below = [f"{layer} ({value:.3f})" for layer, value in at_strong.items() if value < threshold]
    above = [f"{layer} ({value:.3f})" for layer, value in at_strong.items() if not value < threshold]
    held = f"below {threshold:g} at {', '.join(below) or 'no layer'}"
    lost = f" and not at {', '.join(above)}" if above else ""
    return (
        f"With a Deep Image Prior, over {sizes['sample'].nunique()} photographs, size is {'; '.join(listed)}, and "
        f"{direction}; mean d_X at level {near:g} is {held}{lost}."
    )


def _without(results: pd.DataFrame, dip: pd.DataFrame, pixels: pd.DataFrame) -> str:
    pairs = dip.merge(pixels, on=["layer", "sample"], suffixes=("", "_pixels"))
    tests = {
        str(layer): paired_difference(group["crossing_pixels"], group["crossing"])
        for layer, group in pairs.groupby("layer", sort=False)
    }
    adjusted = holm([test.p for test in tests.values()])
    differences = [
        f"{test.mean.value:+.2f} at {layer} (p = {p:.2g})"
        for (layer, test), p in zip(tests.items(), adjusted, strict=True)
    ]
    strong = results[results["level"] >= 0.5]
    strong = by_sample(
        strong.assign(slope=strong["distance"] / strong["feature_distance"]), "slope", ["readout", "sample"]
    )
    with_prior, without = (bootstrap_interval(strong[strong["readout"] == name]["slope"]) for name in ("dip", "pixels"))
    nearer = "nearer to" if abs(1 - without.value) < abs(1 - with_prior.value) else "no nearer to"
    return (
        f"Without the prior size differs by {', '.join(differences)} (Holm-corrected), and from level 0.5 on d_X / d_H "
        f"is {without} in the mean against {with_prior} with it, {nearer} the 45° line."
    )
