from experiments.shared.claims import stands


def test_a_claim_stands_by_its_checks() -> None:
    assert stands([True, True]) == "holds"
    assert stands([True, False]) == "holds in part"
    assert stands([False, False]) == "does not hold"
