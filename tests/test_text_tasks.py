"""The records of text tasks: what they name is there, and what they say is what is said elsewhere."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from stepladder.params import Transformer
from stepladder.text_tasks.record import Code, TextTask
from stepladder.text_tasks.tasks import FORMS, TASKS, architectures, learned

ARCHITECTURES = get_args(Transformer.model_fields["architecture"].annotation)


def named(record: Any) -> Iterator[Code]:
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Code):
            yield value
        elif dataclasses.is_dataclass(value):
            yield from named(value)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_what_a_record_names_is_there(task: TextTask) -> None:
    for code in named(task):
        assert callable(code.load()), code
    assert task.judging.figure in task.judging.figures
    assert set(task.judging.of_splits) <= set(task.judging.figures)
    assert set(task.forms) <= set(FORMS)
    assert not task.model.base or TASKS[task.model.base].model.architecture == task.model.architecture


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_description_of_a_model_says_its_task_and_architecture(task: TextTask) -> None:
    fields = task.model.description.load().model_fields
    assert task.model.description.load().kind == fields["task"].default == task.name
    assert fields["architecture"].default == task.model.architecture


def test_an_architecture_learns_one_thing_from_a_form() -> None:
    """The task whose own the form is, where there is one of that architecture."""
    learnt = {
        (architecture, form): learned(architecture, form)
        for architecture, form in itertools.product(ARCHITECTURES, FORMS)
        if architecture in architectures(form)
    }
    assert {pair: task.name for pair, task in learnt.items()} == {
        ("encoder_decoder", "pairs"): "pairs",
        ("decoder", "lines"): "lines",
        ("encoder", "lines"): "masked_lm",
        ("encoder", "labels"): "labels",
    }
