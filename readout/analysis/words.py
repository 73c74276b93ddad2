"""Verdicts and results in words."""

from dataclasses import dataclass, replace

import pandas as pd

from readout.analysis.sizes import flagged, lower_bounds
from readout.representation import Flag, Verdict


@dataclass(frozen=True)
class Meaning:
    """A verdict in words."""

    mark: str
    """One character, for readers who don't see colours."""
    found: str
    says: str
    """Conclusion."""
    leaves: str
    """Limits of the conclusion, and advice."""


VERDICTS = {
    Verdict.RECOVERED: Meaning(
        "✓",
        "The recovered input lies within the threshold of the true one.",
        "Moved this far, the feature still represents the input for this readout.",
        "Not that the feature alone holds the input: the prior may have supplied a part. Compare with another prior.",
    ),
    Verdict.UNRECOVERED: Meaning(
        "✗",
        "The recovered input differs from the true one and, if there is a loss to tell, explains the feature as well.",
        "The input is lost for this readout.",
        "Not that it is lost for every readout: a stronger prior may still find it.",
    ),
    Verdict.NOT_CONVERGED: Meaning(
        "?",
        "The true input explains the feature better than the recovered one: the optimiser stopped short.",
        "Nothing about the feature. Such a level never counts as lost.",
        "A size below such a level is a lower bound. Try more steps, another learning rate or another prior.",
    ),
    Verdict.FAILED: Meaning(
        "!",
        "Values were not finite, the prior and its restarts died, or the feature could not be perturbed.",
        "Nothing about the feature. Such a level never counts as lost.",
        "A size below such a level is a lower bound. Try a lower learning rate.",
    ),
}

VERDICTS_OF_EXTERNAL = {
    kind: replace(VERDICTS[kind], says=says, leaves=leaves)
    for kind, says, leaves in (
        (
            Verdict.RECOVERED,
            "The external feature still represents the input for this readout.",
            "The prior may have supplied a part: compare with another prior.",
        ),
        (
            Verdict.UNRECOVERED,
            "The external feature fits another input as well.",
            "The cause may be the layer or the source of the feature: check how far it lies from the true input's.",
        ),
        (
            Verdict.NOT_CONVERGED,
            "That says nothing about the feature.",
            "Try more steps, another learning rate or another prior.",
        ),
        (
            Verdict.FAILED,
            "That says nothing about the feature.",
            "Try a lower learning rate.",
        ),
    )
}
"""Verdicts of external features, which have no levels and need not come from the network."""

NAMED = 5
"""Inputs that a sentence names before it counts the rest."""


def not_inverted(results: pd.DataFrame) -> list[str]:
    """Return one sentence per layer and reason that names the inputs that could not be inverted."""
    if "reason" not in results:
        return []
    sentences = []
    for (layer, reason), rows in results.dropna(subset="reason").groupby(["layer", "reason"], sort=False):
        names, levels = list(dict.fromkeys(rows["sample"])), sorted(rows["level"].dropna().unique())
        others = results[(results["layer"] == layer) & results["sample"].isin(names)]
        some = others["reason"].isna().any() and levels
        at = f" at level{'s' if len(levels) > 1 else ''} {', '.join(f'{level:g}' for level in levels)}" if some else ""
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        sentences.append(f"Nothing was inverted at {layer} for {', '.join(names[:NAMED])}{more}{at}: {reason}.")
    return sentences


def summary(results: pd.DataFrame, sizes: pd.DataFrame) -> list[str]:
    """Summarise the results in sentences."""
    by_layer = sizes.groupby("layer", sort=False)["representation_size"].median().dropna()
    sentences = [
        f"Median representation size runs from {by_layer.iloc[0]:.2f} at {by_layer.index[0]} to "
        f"{by_layer.iloc[-1]:.2f} at {by_layer.index[-1]}."
        if len(by_layer) > 1
        else f"Median representation size at {by_layer.index[0]} is {by_layer.iloc[0]:.2f}."
        if len(by_layer)
        else "No feature could be perturbed, so there is no representation size."
    ]
    unknown = results["verdict"].isin([Verdict.NOT_CONVERGED.value, Verdict.FAILED.value]).sum()
    if unknown:
        sentences.append(
            f"{unknown:,} of {len(results):,} inversions failed or did not converge and say nothing about the feature."
        )
    bounds = lower_bounds(sizes).sum()
    if bounds:
        sentences.append(f"{bounds:,} of {len(sizes):,} sizes are lower bounds.")
    near = flagged(sizes, Flag.NEAR_THRESHOLD).sum()
    if near:
        sentences.append(
            f"{near:,} of {len(sizes):,} sizes depend on a distance near the threshold, so another run may differ."
        )
    return sentences + not_inverted(results)
