"""The flow ``predict``: a registered model answers a complete file or folder, and each finished chunk is kept."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, verbs
from pipelines.form import CHAMPION, SHOWN, Count, PlainSeed, Registered, Rows
from pipelines.hooks import HOOKS


@flow(name="predict", **HOOKS)
@form.described
def predict(
    model: Registered = CHAMPION,
    source: str = "requests.csv",
    out: str = "predictions",
    steps: Count = 0,
    beam_size: Count = 0,
    seed: PlainSeed = SHOWN.seed,
    chunk: Rows = 256,
) -> State[None]:
    """Translate a file of sentences, or draw a table of labels. A run that was stopped goes on where it was when it is started
    again with the same values.

    Args:
        source: a .txt file (a sentence a line), a .csv file (a column label, or text), or a folder of such, from the project's folder
        out: file or folder that is made, from the project's folder
        steps: of a diffusion model: sampling steps S; 0: the model's own
        beam_size: of a translation model: hypotheses kept; 0: the model's own
        chunk: rows answered, and kept, at once; at least 1
    """
    options = [("--steps", steps), ("--beam-size", beam_size)]
    arguments = [part for name, value in options if value for part in (name, str(value))]
    return verbs.run(
        "predict", source, "--model", model, "--out", out, "--seed", str(seed), "--chunk", str(chunk), *arguments
    )
