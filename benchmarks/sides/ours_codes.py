"""readout's coders: all signals at once."""

from benchmarks.pace import Pace
from benchmarks.work import PENALTY, Work, code_facts, superposed
from readout.codes import FISTA, Coder, CoordinateDescent, OrthogonalMatchingPursuit


def run(work: Work) -> None:
    """Infer the codes of all signals, again and again; a step is all of them."""
    network, feature, active = superposed(work)
    coder: Coder
    if work.coder == "OrthogonalMatchingPursuit":
        coder = OrthogonalMatchingPursuit(active, nonnegative=False)
    else:
        kind = {"FISTA": FISTA, "CoordinateDescent": CoordinateDescent}[work.coder]
        coder = kind(PENALTY, nonnegative=False)
    coder.prepare_for(network)
    coder.to(work.device)
    signals, steps = feature.to(work.device), work.iterations or active
    facts = code_facts(work, network, feature, coder.infer(signals, steps))
    pace = Pace(work.problems, work.device, **facts)
    while True:
        pace()
        coder.infer(signals, steps)
