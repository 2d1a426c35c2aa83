import json
import threading

from stepladder.tracking import forward, runs, store
from stepladder.tracking.follow import Follower
from tests.tracking import made


def test_a_training_that_ends_while_its_journal_is_sent(project, monkeypatch):
    """What is written meanwhile is sent as well, and the run is closed."""
    sent, ended = threading.Event(), threading.Event()
    send = forward.forward

    def in_the_middle(journal, run):
        lines = send(journal, run)
        sent.set()
        ended.wait(30)
        return lines

    monkeypatch.setattr(forward, "forward", in_the_middle)
    journal = made.journal(project / ".checkpoints" / "key20", steps=3)
    follower = Follower(journal, made.header())
    follower.start()
    assert sent.wait(60)
    with journal.open("a") as file:
        file.write(json.dumps(made.line(4)) + "\n")
    threading.Timer(0.5, ended.set).start()
    run = follower.finish("FINISHED")
    assert not follower.is_alive()
    assert runs.of_header(made.header())["status"] == "FINISHED"
    history = store.client().get_metric_history(run["run_id"], "train/loss")
    assert sorted(point.step for point in history) == [1, 2, 3, 4]
