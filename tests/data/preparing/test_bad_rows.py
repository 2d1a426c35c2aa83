import pytest

from stepladder.data.preparing.bad_rows import LISTED, BadRows
from stepladder.errors import UserError


def test_rows_set_aside_are_counted_by_reason():
    bad = BadRows("set-aside", "text.on_bad_row")
    bad.add("train", 4, "empty line (in the source)")
    bad.add("test", 1, "overlong line (200 tokens where 126 are allowed)")
    bad.add("train", 9, "empty line (in uk)")
    bad.check_refused()
    card = bad.card()
    assert card["count"] == 3
    assert card["reasons"] == {"empty line": 2, "overlong line": 1}
    assert card["rows"][0] == {"split": "train", "row": 4, "reason": "empty line (in the source)"}


def test_a_refusal_names_the_first_row_the_others_number_and_the_way_out():
    bad = BadRows("refuse", "images.on_bad_row")
    bad.check_refused()
    for row in (7, 8, 9):
        bad.add("train", row, "undecodable picture (cut short)")
    with pytest.raises(UserError) as refused:
        bad.check_refused()
    sentence = str(refused.value)
    assert "Row 7" in sentence
    assert "undecodable picture" in sentence
    assert "2 more" in sentence
    assert "images.on_bad_row=set-aside" in sentence


def test_what_is_left_is_said_to_be_without_the_bad_rows():
    bad = BadRows("set-aside", "text.on_bad_row")
    assert bad.note() == ""
    bad.add("train", 3, "empty line (in uk)")
    assert bad.note() == " without the 1 bad row set aside (row 3 of train: empty line)"


def test_the_card_lists_so_many_rows_and_counts_all():
    bad = BadRows("set-aside", "text.on_bad_row")
    for row in range(LISTED + 5):
        bad.add("train", row, "not UTF-8")
    assert bad.card()["count"] == bad.card()["reasons"]["not UTF-8"] == LISTED + 5
    assert len(bad.card()["rows"]) == LISTED
