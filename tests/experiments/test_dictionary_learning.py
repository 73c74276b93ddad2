from pathlib import Path

import pytest

from experiments.dictionary_learning import PARTNERS, Codes, Size, main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_learns_by_every_method_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(main, tmp_path)
    best = found[found["samples"].isin([0, 400])].set_index("method")
    assert (best.loc["oracle", ["inside", "outside"]] > 0.99).all()
    assert best["dictionary"].idxmax() == "oracle"
    assert best["dictionary"].drop("oracle").idxmax() == "alternating + FISTA"
    assert (found["dictionary_chance"] > 0.5).all()
    run_again(main, tmp_path, found, monkeypatch)


def test_latent_0_meets_its_partners_outside_the_distribution_only() -> None:
    size = Size(20, 3, (), 0)
    for together in (False, True):
        active = Codes(size, 500, 0, together).codes > 0
        assert (active.sum(1) == 3).all()
        meets = active[:, 0] & active[:, 1 : PARTNERS + 1].any(1)
        assert meets.all() if together else not meets.any()
        assert active[:, 0].float().mean() > 0.05
