from stepladder.journal.record import Journal, read


def test_a_resumed_training_writes_no_figure_twice(tmp_path):
    path = tmp_path / "journal.jsonl"
    first = Journal(path, {"key": "a"})
    for step in (10, 20, 30):
        first.metrics(step, {"train/loss": 1 / step})
    first.metrics(25, {"validation/loss": 0.5})
    first.artifact(25, "previews/step-25.png")

    second = Journal(path, {"key": "another header is not written"})
    second.metrics(20, {"train/loss": 1 / 20})
    second.metrics(25, {"validation/loss": 0.5})
    second.artifact(25, "previews/step-25.png")
    second.metrics(40, {"train/loss": 1 / 40, "validation/loss": 0.4})

    lines = list(read(path))
    assert lines[0] == {"header": {"key": "a"}}
    assert [line["step"] for line in lines[1:]] == [10, 20, 30, 25, 25, 40]


def test_a_line_cut_off_by_a_kill_is_removed(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path, {}).metrics(1, {"train/loss": 1.0})
    with path.open("a") as file:
        file.write('{"step": 2, "metr')
    assert len(list(read(path))) == 2
    Journal(path, {}).metrics(2, {"train/loss": 0.5})
    assert [line.get("step") for line in read(path)] == [None, 1, 2]
