from readout.analysis.texts import marked


def test_wrong_tokens_are_marked_and_name_the_true_one() -> None:
    assert marked(["the", " cat"], ["the", " dog"], [1]) == 'the <mark title="true: cat">dog</mark>'


def test_a_token_is_wrong_by_its_id_and_not_by_how_it_reads() -> None:
    assert marked(["�"], ["�"], [0]) == '<mark title="true: �">�</mark>'
    assert marked(["the"], ["a"], []) == "a"


def test_text_is_text_and_not_html() -> None:
    page = marked(['"'], ["<script>"], [0])
    assert page == '<mark title="true: &quot;">&lt;script&gt;</mark>'


def test_a_token_without_text_can_be_pointed_at_too() -> None:
    assert marked(["a"], [""], [0]) == '<mark title="true: a">∅</mark>'
