"""`stepladder translate`, `generate`, `classify`, `better`: in processes of their own, at a terminal and in a pipe."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from stepladder.cli import main
from stepladder.transformer.training.task import experiment
from tests.transformer import running
from tests.transformer.inference.test_translation import _export
from tests.transformer.prepared import params, prepare

COMMAND = [sys.executable, "-m", "stepladder"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "STEPLADDER_TRACKING": "journal"}
SHORT = ["-S", "decoding.max_length=8"]


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> str:
    data = prepare(tmp_path_factory.mktemp("text") / "text")
    torch.manual_seed(0)
    return str(_export(experiment(params(), data), data.parent / "model"))


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("running")
    running.lines(folder, positions="learned")
    return str(folder / "model")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("classes")
    running.labels(folder)
    return str(folder / "model")


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=given, capture_output=True, text=True, timeout=240, env=ENVIRONMENT, check=False
    )


def test_a_file_and_a_pipe_are_translated_alike_and_a_line_too_long_costs_a_line(
    translator: str, tmp_path: Path
) -> None:
    text = "abc\n\n" + "ab" * 100 + "\nh\ngfedcba"
    (tmp_path / "in.txt").write_text(text)
    piped = run("translate", "--model", translator, *SHORT, given=text)
    filed = run("translate", "--model", translator, *SHORT, "--file", str(tmp_path / "in.txt"))
    assert piped.stdout == filed.stdout
    assert (piped.returncode, filed.returncode) == (0, 0)
    answers = piped.stdout.split("\n")
    assert len(answers) == 6
    assert answers[1] == answers[2] == ""
    assert all(answers[i] for i in (0, 3, 4))
    assert piped.stderr.startswith("stepladder: line 3 has 202 tokens; the model translates up to 128")
    assert piped.stderr.count("\n") == 1


def test_a_line_is_answered_before_the_next_is_there(translator: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "translate", "--model", translator, *SHORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for word in ("abc", "gh"):
        process.stdin.write(word + "\n")
        process.stdin.flush()
        assert process.stdout.readline().strip()
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()


@pytest.mark.parametrize(("key", "code"), [(b"\x04", 0), (b"\x03", 130)])
def test_at_a_terminal_it_asks_and_ends_quietly(translator: str, key: bytes, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "translate", "--model", translator, *SHORT], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True,
        env=ENVIRONMENT, preexec_fn=_controlling,
    )  # fmt: skip
    os.close(theirs)
    _until(ours, b"en> ")
    os.write(ours, b"abc\n")
    answer = _until(ours, b"en> ")
    assert len(answer.split(b"\n")) >= 2
    # Python takes an interrupt that comes between its prompt and its read to be one of the next key: as one would, press again
    for _ in range(6):
        os.write(ours, key)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
            break
    assert process.poll() == code
    assert b"Traceback" not in _until(ours, None)
    os.close(ours)


def test_who_reads_no_further_ends_it(translator: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("abc\n" * 3000)
    command = " ".join([*COMMAND, "translate", "--model", translator, *SHORT, "--file", str(tmp_path / "in.txt")])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1"],
        capture_output=True,
        text=True,
        timeout=240,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_the_best_of_several_with_their_scores(translator: str) -> None:
    done = run("translate", "--model", translator, *SHORT, "--n-best", "2", given="abc\n\nh\n")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "3", "3"]
    assert float(rows[0][1]) >= float(rows[1][1])
    first = run("translate", "--model", translator, *SHORT, given="abc\n\nh\n").stdout.splitlines()
    assert [rows[0][2], rows[2][2]] == [first[0], first[2]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--language", "fr"], "does not translate to fr; it knows uk"),
        (["--n-best", "9"], "9 best translations are asked of decoding.method=beam with beam_size=4"),
        (["--file", "absent.txt"], "absent.txt cannot be read"),
        (["-S", "decoding.top_k=3"], "decoding.top_k=3 with decoding.method=beam"),
        (["-S", "text.limit=3"], "-S text... is not of decoding"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    translator: str, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "--model", translator, *arguments]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1


def test_a_prompt_is_gone_on_from_and_a_sample_is_the_same_beside_others(
    writer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "generate",
        "--model",
        writer,
        "--prompt",
        "The cat",
        "--length",
        "30",
        "--temperature",
        "0.8",
        "--seed",
        "4",
    ]
    assert main(asked) == 0
    alone = capsys.readouterr().out
    assert alone.startswith("The cat")
    assert len(alone) > 20
    assert main([*asked, "--count", "3"]) == 0
    several = capsys.readouterr().out
    assert several.startswith(f"--- 1 of 3\n{alone}--- 2 of 3\nThe cat")
    assert "--- 3 of 3\nThe cat" in several
    assert main([*asked[:-1], "5"]) == 0
    assert capsys.readouterr().out != alone
    assert main([*asked, "--count", "0"]) == 2
    assert "--count 0" in capsys.readouterr().err
    assert main([*asked, "--prompt", ""]) == 2
    assert "The prompt is empty" in capsys.readouterr().err


def test_lines_are_classified(classifier: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("red 5\n" + "oak " * 9 + "\noak 3\n")
    asked = ["classify", "--model", classifier, "--file", str(tmp_path / "in.txt")]
    assert main([*asked, "--top", "2"]) == 0
    printed = capsys.readouterr()
    rows = [line.split("\t") for line in printed.out.split("\n")]
    assert [len(row) for row in rows] == [4, 1, 4, 1]
    for row in (rows[0], rows[2]):
        assert {row[0], row[2]} == {"colour", "tree"}
        assert float(row[1]) + float(row[3]) == pytest.approx(1, abs=2e-3)
    assert printed.err.startswith("stepladder: line 2 has ")
    assert main([*asked, "--top", "3"]) == 2
    assert "knows 1 to 2 classes" in capsys.readouterr().err


def _controlling() -> None:
    import fcntl
    import termios

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the tests may have been started to ignore
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(terminal: int, wanted: bytes | None) -> bytes:
    """What the terminal shows until ``wanted``, or its end."""
    seen, end = b"", time.monotonic() + 120
    while (wanted is None or wanted not in seen) and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                more = os.read(terminal, 4096)
            except OSError:
                break
            if not more:
                break
            seen += more
    return seen


@pytest.mark.parametrize(("kind", "panels"), [("encoder", 1), ("cross", 4)])
def test_attention_is_drawn(translator: str, tmp_path: Path, capsys, kind: str, panels: int) -> None:
    one = ["--layer", "1", "--head", "2"] if panels == 1 else []
    file = tmp_path / "attention.png"
    command = ["attention", "--model", translator, "--text", "abcd", "--target", "dcba", "--kind", kind, *one]
    assert main([*command, "--out", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    with Image.open(file) as picture:
        assert min(picture.size) > 200
        assert len(picture.convert("L").getcolors(256) or []) > 20


def test_attention_that_the_model_does_not_have_is_refused(
    translator: str, writer: str, tmp_path: Path, capsys
) -> None:
    for arguments, said in (
        (["--model", translator, "--layer", "9"], "layer"),
        (["--model", writer, "--kind", "cross"], "cross"),
    ):
        assert main(["attention", "--text", "ab", "--out", str(tmp_path / "no.png"), *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()
