"""Sparse codes of many signals, against scikit-learn."""

from benchmarks.driver import measure, quartiles, ratios
from benchmarks.options import Options
from benchmarks.table import Table
from benchmarks.work import PENALTY, Work

ATOMS = {"cpu": (256,), "cuda": (256, 1024)}
"""N, by device."""

PROBLEMS = {
    "K latents": [
        ("sklearn_codes", "orthogonal_mp", 0),
        ("sklearn_codes", "orthogonal_mp, Gram", 0),
        ("ours_codes", "OrthogonalMatchingPursuit", 0),
    ],
    "λ‖s‖₁": [
        ("sklearn_codes", "lasso_cd", 0),
        ("sklearn_codes", "Lasso", 0),
        ("sklearn_codes", "lasso_lars", 0),
        ("ours_codes", "FISTA", 30),
        ("ours_codes", "FISTA", 100),
        ("ours_codes", "CoordinateDescent", 20),
        ("ours_codes", "CoordinateDescent", 50),
    ],
}
"""Side, coder and number of iterations, by what is minimised."""

QUICK = ("orthogonal_mp", "OrthogonalMatchingPursuit", "lasso_cd", "FISTA")
"""Coders of a quick run, each with its most iterations."""


def run(options: Options) -> Table:
    """Measure milliseconds per signal, and the objective that was reached."""
    table = Table("Sparse codes of signals, against scikit-learn on the CPU")
    table.note(
        "Signals of N/4 dimensions are sums of N/32 of N random atoms. objective: ½‖Ds − h‖², for the second kind with "
        f"λ‖s‖₁ and λ = {PENALTY:g}, mean over signals; above: over the least one. Times at other objectives are of "
        "other work. Ours are in float32, all signals at once; scikit-learn's in float64, one after the other. "
        "Ratios are to the fastest of scikit-learn."
    )
    count = 200 if options.quick else 2000
    for atoms in ATOMS[options.work.device]:
        for problem, coders in (_quick() if options.quick else PROBLEMS).items():
            works = [
                options.work.but(side=side, coder=coder, iterations=iterations, atoms=atoms, problems=count)
                for side, coder, iterations in coders
            ]
            found = measure(works, options.pacing, options.threads)
            peers = [measured for measured in found if measured.work.side == "sklearn_codes"]
            fastest = min(peers, key=lambda peer: quartiles(peer.milliseconds())[1])
            least = min(measured.facts["objective"] for measured in found)
            for measured in found:
                first, middle, third = quartiles(ratios(fastest, measured))
                table.add(
                    N=atoms,
                    signals=count,
                    minimised=problem,
                    coder=_name(measured.work),
                    objective=measured.facts["objective"],
                    above=f"{measured.facts['objective'] / least - 1:.1e}",
                    active=measured.facts["active"],
                    ms=quartiles(measured.milliseconds())[1],
                    **{"scikit-learn / this": middle, "quartiles": (first, third)},
                )
    return table


def _quick() -> dict[str, list[tuple[str, str, int]]]:
    return {
        problem: list({coder: (side, coder, count) for side, coder, count in coders if coder in QUICK}.values())
        for problem, coders in PROBLEMS.items()
    }


def _name(work: Work) -> str:
    side = "scikit-learn" if work.side == "sklearn_codes" else "ours"
    return f"{side}, {work.coder}" + (f", {work.iterations} iterations" if work.iterations else "")
