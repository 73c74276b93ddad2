from pathlib import Path

import pytest

from experiments.code_sizes import ceiling, main
from readout.code_theory import support_size
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_iterating_comes_nearer_to_the_ceiling_than_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    chosen = sizes[sizes["penalty"] == 0.3]
    means = chosen.groupby(["ratio", "coder"])["size"].mean()
    # without superposition all coders are one pass, whose size is known; 120 codes
    assert means[1].tolist() == pytest.approx([support_size(4, 64, 64)] * 4, abs=0.03)
    assert means[4, "one pass"] < 0.5 * means[4, "FISTA"]
    assert means[4, "one pass"] < means[4, "ISTA, 8 iterations"] < means[4, "OMP"]
    assert (sizes.loc[sizes["coder"] != "one pass", "kept"] > 0.9).all()
    run_again(main, tmp_path, sizes, monkeypatch)


def test_without_more_atoms_than_dimensions_the_ceiling_is_the_closed_form() -> None:
    assert ceiling(4, 64, 64) == pytest.approx(support_size(4, 64, 64))
    # more latents to be mistaken for active ones
    assert [round(ceiling(4, atoms, 64), 3) for atoms in (128, 256, 512)] == [0.333, 0.31, 0.29]
