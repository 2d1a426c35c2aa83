"""The recipes of CONTRIBUTING.md, each followed in a copy of the package: so many files are touched, and what is added is there.

Parameters admit it by name, pages and studies list it, and it works.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SOURCE = Path("src/stepladder")
SCHEDULE = '''def straight(u: Array) -> Array:
    """The share of signal falls evenly."""
    return 1 - 0.999 * u


CURVES: dict'''
SAMPLER = '''def halfway(
    denoise: Denoise, x: Tensor, levels: Levels, noise: Noise | None = None, *, callback: Callback | None = None
) -> Tensor:
    """Euler's method."""
    return ddim(denoise, x, levels, _no_noise, callback=callback)


SAMPLERS = (
    Sampler("halfway", "Halfway", halfway, 1),'''
PROCESS = '''class Arc(ContinuousTime):
    """A quarter of a circle from data to noise; the network predicts the velocity along it."""

    name, title = "arc", "a quarter of a circle"
    has_own_target = has_own_levels = True
    usual_sampler = "euler"

    def level_at(self, u: Array) -> tuple[Array, Array]:
        return np.cos(u * np.pi / 2), np.sin(u * np.pi / 2)

    def time_at(self, log_sigma: Array) -> Array:
        return np.arctan(np.exp(log_sigma)) * 2 / np.pi

    def target(self, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return alpha * eps - sigma * x_0

    def to_x0(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return alpha * x - sigma * output

    def error_of_x0(self, snr: Tensor) -> Tensor:
        return 1 / (1 + snr)


PROCESSES: dict'''
WORDS = """WORDS = TextTask(
    "words",
    prepared=Prepared("words, each by itself", Code("evaluation.text.words:prepare"), Code("evaluation.text.words:fits")),
    model=Model(
        title="model of words",
        use="`stepladder serve` answers with it",
        architecture="decoder",
        description=Code("evaluation.text.words:WordsDescription"),
        network=Code("transformer.networks.causal_lm:CausalLM"),
        experiment=Code("evaluation.text.words:experiment"),
    ),
    judging=Judging(
        Code("evaluation.text.words:evaluate"),
        figure="bits_a_letter",
        figures={"bits_a_letter": Metric("bits a letter", -1, headline=True)},
        baseline=lambda m: [(m["alike"], "taking all letters for alike")],
        items=Items("words.jsonl", ("word",), Code("evaluation.text.words:measures")),
    ),
    served=Served(
        "word",
        {"bits": "double"},
        answer=Code("evaluation.text.words:answer"),
        options=lambda settings: {},
        settings=lambda decoding, model: {},
        examples="words.jsonl",
        further=(),
        judged=lambda m: f"{m['words']} words",
    ),
    page=Page(
        "Words",
        tiles=lambda m: [("bits a letter", fixed(m["bits_a_letter"], 3), f"of {m['words']} words")],
        summary={"bits_a_letter": "bits a letter"},
        rows=(("bits_a_letter", "bits a letter"),),
        examples=("The words", "words.jsonl", {"word": "held-out word"}),
    ),
)
TASKS = """
WORDS_MODULE = '''"""Words, each learned by itself: its letters from left to right. Followed by the recipe of CONTRIBUTING.md."""

import json
import math
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch.nn import functional as F

from stepladder import history
from stepladder.data import splits
from stepladder.data.buckets import Sentences
from stepladder.data.card import held_out_hash, longest_of, prepared, read_card
from stepladder.data.preparing import names
from stepladder.data.tokenizer import train
from stepladder.evaluation.text import files
from stepladder.evaluation.text.measure import Score, scored
from stepladder.judgement import identity
from stepladder.transformer.networks.description import CausalLMDescription, CausalLMNetwork
from stepladder.transformer.networks.trained import SpecialTokens, load

HELD_OUT = {"validation": 40, "test": 40}


class WordsDescription(CausalLMDescription):
    kind: ClassVar[str] = "words"
    task: Literal["words"] = "words"


def prepare(params, folder):
    words = sorted({word for name in names.english() for word in name.split() if word.isascii() and word.isalpha()})
    words = splits.shuffled(words, params.seed)[: params.text.limit]
    parts = {}
    for name, count in HELD_OUT.items():
        parts[name], words = words[:count], words[count:]
    parts["train"] = words
    tokenizer = train(words, "char", params.text.vocab_size)
    card = {
        "kind": "text", "task": params.text.task, "name": "words", "source": "pycountry", "licence": names.LICENCE,
        "max_length": params.text.max_length, "counts": {name: len(part) for name, part in parts.items()},
        "held_out_hash": held_out_hash(parts["test"]),
    }
    with prepared(folder, card) as fresh:
        (fresh / "tokenizer.json").write_text(tokenizer.to_str() + "\\n")
        for name, part in parts.items():
            ids = [encoding.ids for encoding in tokenizer.encode_batch(part, add_special_tokens=False)]
            Sentences.write(fresh / name, ids, tokenizer.get_vocab_size())
            (fresh / f"{name}.txt").write_text("\\n".join(part))
    return card


def fits(key, params, training, card, devices):
    if card["counts"]["train"] < training.batch_size:
        raise ValueError(f"{key}.batch_size={training.batch_size} is more than there are words")


def experiment(params, data, *, rank=0, world_size=1):
    from stepladder.tasks.experiment import Experiment
    from stepladder.transformer.training.batches import padded
    from stepladder.transformer.training.causal_lm_task import CausalLMTask, batch
    from stepladder.transformer.training.language_task import share, shared

    section, training, common = params.transformer, params.transformer.training, shared(params, data)
    longest = longest_of(read_card(data))
    network = CausalLMNetwork(**common.network, layers=section.decoder_layers, max_length=longest)
    description = WordsDescription(model=network, data=common.data, context=longest)
    words, held = (Sentences.open(data / split) for split in ("train", "validation"))

    def draw(k):
        rows = np.random.default_rng((params.seed, k)).integers(0, len(words), training.batch_size)
        whole = padded(words, rows, common.special)
        return batch(whole[rank::world_size], share((whole[:, 1:] != common.special.pad).sum(), world_size)) | {"position": k}

    return Experiment(
        task=CausalLMTask(description, section.label_smoothing, training),
        draw=draw,
        validation=[batch(padded(held, np.arange(len(held))[rank::world_size], common.special), 1.0)],
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(0),
    )


@torch.inference_mode()
def bits(loaded, words):
    """Of each word, its end included."""
    model, tokenizer, _ = loaded
    special = SpecialTokens.of(tokenizer)
    found = []
    for encoding in tokenizer.encode_batch(words, add_special_tokens=False):
        ids = torch.tensor([[special.bos, *encoding.ids, special.eos]])
        found.append(F.cross_entropy(model(ids[:, :-1])[0].float(), ids[0, 1:], reduction="sum").item() / math.log(2))
    return found


def evaluate(params, data, model, out):
    loaded = load(model, WordsDescription)
    words = (data / "test.txt").read_text().split("\\n")
    rows = [{"word": word, "bits": bit} for word, bit in zip(words, bits(loaded, words), strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    files.write_lines(out / "words.jsonl", rows)
    section = params.evaluation
    metrics = {
        "task": loaded[2].task,
        **scored(measures(rows), count=section.bootstrap, confidence=section.confidence, seed=params.seed),
        "alike": math.log2(27), "words": len(rows), "splits": {}, "judged": identity.judged(params, model, data),
    }
    history.write(out / "metrics.json", metrics)
    return metrics


def measures(rows):
    statistics = np.array([[row["bits"], len(row["word"]) + 1] for row in rows])
    return [Score("bits_a_letter", statistics, lambda total: float(total[0] / total[1]))]


def answer(loaded, texts, settings, options):
    return {"bits": bits(loaded, texts)}
'''
WORDS_USED = """
import json, shutil
from pathlib import Path
import torch
from safetensors.torch import save_file
from stepladder.data.preparing.text import prepare
from stepladder.description import kind
from stepladder.evaluation.better import better
from stepladder.evaluation.fitting import evaluate
from stepladder.metrics.every import measured
from stepladder.reporting.comparison import compare
from stepladder.reporting.report import write
from stepladder.stages import STAGES
from stepladder.tracking import candidates, loadable
from stepladder.text_tasks.tasks import served
from stepladder.transformer.networks.trained import load
from stepladder.transformer.training.task import experiment
small = {"architecture": "decoder", "d_model": 16, "d_ff": 32, "decoder_layers": 1, "training": {"batch_size": 16}}
params = build({
    "images": {"source": "none"}, "text": {"task": "words", "limit": 200}, "transformer": small, "evaluation": {"bootstrap": 10},
})
data, model, reports = Path("data/text"), Path("models/transformer"), Path("reports")
card = prepare(params, data)
made = experiment(params, data)
optimiser = torch.optim.Adam(made.task.model.parameters(), 0.01)
losses = []
for k in range(40):
    optimiser.zero_grad()
    loss = made.task.loss(made.draw(k))
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
assert losses[-1] < losses[0]
model.mkdir(parents=True)
save_file(dict(made.task.model.named_parameters()), model / "model.safetensors")
(model / "config.json").write_text(made.task.description.to_json())
shutil.copy(data / "tokenizer.json", model)
assert kind(model) == "words"
metrics = evaluate(params, model, {}, data, Path(), reports / "transformer", None)
assert 0 < metrics["bits_a_letter"] < metrics["alike"]
assert [found.verdict for found in better(*[reports / "transformer"] * 2, count=10, confidence=0.9, seed=0)] == ["no difference shown"]
comparison = compare(params, Path("models"), reports)
assert json.loads((reports / "metrics.json").read_text())["language_model"] == {"bits_a_letter": metrics["bits_a_letter"]}
page = write(reports, Path("models"), params).read_text()
assert "held-out word" in page and "bits a letter" in page
(candidate,) = candidates.of(comparison, params, Path("models"), reports)
assert candidate.figures.tags["baseline_of"] == "taking all letters for alike"
loaded = load(model)
assert loadable._signature(loaded[2], candidate.settings).outputs.input_names() == ["bits"]
(bits,) = served("words").answer(loaded, [candidate.example[0]["word"]], {}, {})["bits"]
assert bits > 0 and "bits_a_letter" in measured(["words"])
own = "evaluation/text/words.py"
assert all(own in STAGES[words].code() for words in ("prepare text", "train transformer", "evaluate transformer", "register"))
"""

FLOW = '''"""The flow ``clean``."""

from prefect import flow

from pipelines import form


@flow(name="clean")
@form.described
def clean(preset: form.Preset = form.WORKSPACE, days: int = 30) -> None:
    """Remove what is old.

    Args:
        days: what was not used for so many
    """
'''


@dataclass(frozen=True)
class Recipe:
    """What is added to which files, as (a pattern, what takes its place), and which files are new."""

    added: str
    edits: dict[str, list[tuple[str, str]]]
    then: str
    new: dict[str, str] = field(default_factory=dict)


MIXER = '''class Mixer(Backbone):
    """Layers over all pixels."""

    PARTS = ("mix",)

    width: int = Field(16, ge=1, le=512, description="width")

    def unit(self) -> tuple[int, str]:
        return 1, "width"

    def fits(self, sides: Sides, named: str) -> None:
        """Whatever the sides."""


BACKBONES: dict'''
MIXER_MODULE = '''"""Layers over all pixels. Followed by the recipe of CONTRIBUTING.md."""

from torch import nn


class Mixer(nn.Module):
    def __init__(self, shape, classes, width, outputs=None, vocabulary=0, text_length=0, text_encoder=None, low_resolution=0):
        super().__init__()
        self.shape = (outputs or shape[0], *shape[1:])
        pixels = shape[0] * shape[1] * shape[2]
        self.mix = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.SiLU(), nn.Linear(width, pixels * self.shape[0] // shape[0]))

    def forward(self, x, time, condition):
        return self.mix(x).view(-1, *self.shape)
'''
CONFIG = '{"process": "discrete", "schedule": "cosine", "timesteps": 50, "prediction": "v", "classes": [], "label_dropout": 0.1, "model": {"backbone": "own", "shape": (1, 8, 8)}}'
DRAWN = f"""
import torch
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.sampling.drawing import draw
from stepladder.params import Sampling
class Still(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))
    def forward(self, x, time, condition):
        return self.scale * x
pictures = draw(Still(), DiffusionDescription.model_validate({CONFIG} | changed), {{"labels": torch.zeros(3, dtype=torch.int64)}}, 5, Sampling(**sampling))
assert pictures.shape == (3, 1, 8, 8) and pictures.isfinite().all()
"""
RECIPES = [
    Recipe(
        "straight",
        {
            "diffusion/processes/schedules.py": [
                (r"CURVES: dict", SCHEDULE),
                (r'    "laplace": laplace,\n', '    "laplace": laplace,\n    "straight": straight,\n'),
            ]
        },
        'changed, sampling = {"schedule": "straight"}, {}\n' + DRAWN + "build({'diffusion': {'schedule': 'straight'}})",
    ),
    Recipe(
        "halfway",
        {
            "diffusion/samplers/one_step.py": [(r"SAMPLERS = \(", SAMPLER)],
        },
        'changed, sampling = {}, {"sampler": "halfway"}\n' + DRAWN + """
build({"sampling": {"sampler": "halfway"}})
from stepladder.serving.app import Drawing
from stepladder.studies.results import sampling_label
Drawing(model="m", labels=["0"], steps=5, sampler="halfway")
assert sampling_label(Sampling(sampler="halfway").model_dump(mode="json")) == "Halfway"
""",
    ),
    Recipe(
        "arc",
        {
            "diffusion/processes/processes.py": [
                (r"PROCESSES: dict", PROCESS),
                (r"Continuous, EDM, Flow\)", "Continuous, EDM, Flow, Arc)"),
            ]
        },
        'changed, sampling = {"process": "arc"}, {"sampler": "euler"}\n' + DRAWN + """
build({"diffusion": {"process": "arc"}, "sweep": {"timesteps": [100]}})
from stepladder.errors import UserError
for refused in ({"variance": "learned_range", "loss": "hybrid"}, {"prediction": "eps"}):
    try:
        build({"diffusion": {"process": "arc"} | refused, "sweep": {"timesteps": [100]}})
    except UserError as error:
        assert "arc" in str(error)
    else:
        raise AssertionError(refused)
""",
    ),
    Recipe(
        "mixer",
        {
            "params/backbones.py": [
                (r"BACKBONES: dict", MIXER),
                (r'"dit": DiT}', '"dit": DiT, "mixer": Mixer}'),
            ]
        },
        """
from stepladder.dependencies import code
from stepladder.diffusion import cost
from stepladder.diffusion.networks.backbones import build as network
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.training.task import configuration
params = build({"diffusion": {"backbone": "mixer", "mixer": {"width": 4}, "unfreeze": ["mix"]}})
card = {"name": "dots", "shape": [1, 8, 8], "classes": ["0", "1"], "sigma_data": 0.5}
described = configuration(params.diffusion, card, 10)
again = DiffusionDescription.model_validate_json(described.to_json(), strict=True)
assert again == described and again.model.width == 4
assert network(again.model).mix[1].out_features == 4
names = [found.name for found in cost.costs(params.diffusion, (1, 8, 8), 2, 1)]
assert names == ["mixer (chosen)", "unet, full convolutions", "unet, depthwise separable convolutions", "unet, fft convolutions", "dit"]
assert "diffusion/networks/mixer.py" in code("diffusion.training.task")
""",
        {"diffusion/networks/mixer.py": MIXER_MODULE},
    ),
    Recipe(
        "words",
        {"text_tasks/tasks.py": [(r"TASKS = (?={task)", WORDS), (r"LABELS, MASKED\)\}", "LABELS, MASKED, WORDS)}")]},
        WORDS_USED,
        {"evaluation/text/words.py": WORDS_MODULE},
    ),
]  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.added)
def test_a_recipe_adds_what_it_says(recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "stepladder", ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in recipe.edits.items():
        file = tmp_path / "stepladder" / name
        text = file.read_text(encoding="utf-8")
        for pattern, replacement in edits:
            text, count = re.subn(pattern, lambda _, new=replacement: new, text)
            assert count == 1, (name, pattern)
        file.write_text(text, encoding="utf-8")
    for name, text in recipe.new.items():
        (tmp_path / "stepladder" / name).write_text(text, encoding="utf-8")
    script = "from stepladder.params import build\n" + recipe.then
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_flow_is_a_file_and_a_line_of_what_is_deployed(tmp_path: Path) -> None:
    shutil.copytree("pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipelines/clean.py").write_text(FLOW, encoding="utf-8")
    listed = Path("prefect.yaml").read_text(encoding="utf-8")
    line = '  - {<<: *anywhere, entrypoint: "pipelines/clean.py:clean"}\n'
    (tmp_path / "prefect.yaml").write_text(listed + line, encoding="utf-8")
    script = """
from pipelines.deployments import FLOWS
from pipelines import deployed
assert "clean" in deployed()
fields = FLOWS[-1].parameters.properties
assert fields["days"]["description"] == "what was not used for so many", fields
assert "a named set" in fields["preset"]["description"], fields
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{SOURCE.parent.resolve()}", "PREFECT_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_page_says_how_many_files_a_recipe_touches() -> None:
    said = dict(
        re.findall(
            r"^\| a (schedule|sampler|process|backbone|flow|text task) \| (\d) \|",
            Path("CONTRIBUTING.md").read_text(),
            re.M,
        )
    )
    kinds = {"straight": "schedule", "halfway": "sampler", "arc": "process", "mixer": "backbone", "words": "text task"}
    assert said == {"flow": "1"} | {kinds[recipe.added]: str(len(recipe.edits) + len(recipe.new)) for recipe in RECIPES}
