"""The history of aliases, and going back in it."""

import pytest

from stepladder import cli
from stepladder.errors import UserError
from stepladder.tracking import aliases, store
from stepladder.tracking.aliases import CHAMPION, history, move, rollback

NAME = "transformer-names"


@pytest.fixture
def four(project):
    """Four versions, each of which has been champion in turn."""
    client = store.client()
    client.create_registered_model(NAME)
    for number in "1234":
        client.create_model_version(NAME, source="file:///nowhere")
        move(client, NAME, CHAMPION, number, how="promote", why=f"better for the {number}. time")
    return client


def champion() -> str:
    return str(store.client().get_registered_model(NAME).aliases[CHAMPION])


def test_rollbacks_go_back_one_by_one(four):
    for expected in "321":
        assert rollback(NAME, reason="worse than it seemed").after == expected
        assert champion() == expected
    with pytest.raises(UserError, match="has had no champion before version 1"):
        rollback(NAME, reason="further")
    assert [c.after for c in history(NAME)] == ["1", "2", "3", "4", "3", "2", "1"]


def test_after_a_rollback_the_next_champion_follows_the_one_gone_back_to(four):
    rollback(NAME, "2", reason="3 and 4 were trained on damaged data")
    move(four, NAME, CHAMPION, "4", how="force", why="mended")
    assert rollback(NAME, reason="not mended").after == "2"


def test_versions_that_were_deleted_are_passed_over(four):
    four.delete_model_version(NAME, "3")
    assert rollback(NAME, reason="3 is gone").after == "2"


def test_the_reason_stays_with_the_version_left(four):
    change = rollback(NAME, "1", reason="too slow")
    assert str(change).endswith("@champion from version 4 to version 1 by " + change.who + " (rollback): too slow")
    assert four.get_model_version(NAME, "4").tags[aliases.ROLLED_BACK] == "too slow"


@pytest.mark.parametrize(
    ("to", "reason", "words"),
    [
        ("9", "why not", "has no version 9; it has: 1, 2, 3, 4."),
        ("4", "why not", "Version 4 of transformer-names is @champion already"),
        ("1", " ", "A rollback needs a reason"),
    ],
)
def test_what_cannot_be(four, to, reason, words):
    with pytest.raises(UserError, match=words):
        rollback(NAME, to, reason=reason)
    assert champion() == "4"


def test_the_command_line(four, capsys):
    assert cli.main(["rollback", NAME, "--to", "2", "--reason", "it was better"]) == 0
    assert cli.main(["history", NAME]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == lines[0], "the history ends with what was just done"
    assert len(lines) == 6
    assert cli.main(["history", "nobody"]) == 2
    assert "nobody is not in the registry; it has the models: transformer-names." in capsys.readouterr().err


def test_a_move_to_where_it_is_already_is_no_change(four):
    assert move(four, NAME, CHAMPION, "4", how="promote", why="again") is None
    assert len(history(NAME)) == 4
