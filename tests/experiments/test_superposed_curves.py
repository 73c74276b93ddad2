from pathlib import Path

import pandas as pd
import pytest

from experiments.superposed_curves import conclude, least_squares_distance, main
from readout.code_theory import linear_code_bound
from tests.experiments.helpers import run


@pytest.mark.slow
def test_curves_are_near_the_formulas_of_large_dictionaries(tmp_path: Path) -> None:
    curves = run(main, tmp_path)
    assert len(curves) == 2 * 5 * 2
    # 200 atoms; the formulas are of infinitely many
    assert (curves["measured"] - curves["formula"]).abs().max() < 0.03
    means = curves.groupby("readout")["measured"].mean()
    assert means["oracle"] < means["LASSO"] < means["one pass"]


def test_least_squares_reaches_the_bound_of_linear_readouts_without_noise() -> None:
    assert float(least_squares_distance(0, 1000, 500)) == pytest.approx(linear_code_bound(1000, 500))


@pytest.mark.parametrize(("off", "said"), [(0.001, "holds within 0.02 (+0.001"), (-0.03, "does not hold within 0.02")])
def test_sentences_follow_the_numbers(off: float, said: str) -> None:
    curves = pd.DataFrame(
        [
            {"readout": name, "nonnegative": True, "level": level, "measured": true + off, "formula": true}
            for name, found in (("LASSO", (0.1, 0.5)), ("least squares", (0.3, 0.4)), ("one pass", (0.6, 0.45)))
            for level, true in zip((0.1, 0.3), found, strict=True)
        ]
    )
    first, second = conclude(curves)
    assert f"LASSO of non-negative codes {said}" in first
    assert second.endswith("least squares at no level measured, LASSO from c = 0.3.")
