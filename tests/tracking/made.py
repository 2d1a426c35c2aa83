"""What trainings, evaluations and comparisons leave behind, with tiny real models."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from stepladder.data.tokenizer import train
from stepladder.diffusion.networks.unet import UNet
from stepladder.transformer.networks.seq2seq import Seq2Seq
from tests import kept

UNET = {
    "channels": 8, "channel_mult": [1], "blocks": 1, "attention_resolutions": [], "heads": 2, "dropout": 0.0,
    "shape": [1, 8, 8], "classes": 3,
}  # fmt: skip


def header(**changes: Any) -> dict[str, Any]:
    usual = {
        "family": "diffusion", "experiment": "diffusion-digits", "run_name": "T=20", "key": "key20", "sweep_key": "sweep0",
        "params": {"seed": 0, "diffusion.schedule": "cosine", "diffusion.training.steps": 4}, "timesteps": 20, "seed": 0,
        "data": {"name": "digits", "content_hash": "a" * 64}, "git_commit": "c" * 40, "git_dirty": False,
        "dvc_lock": "d" * 64, "started": 1_700_000_000.0, "world_size": 1,
    }  # fmt: skip
    return usual | changes


TRANSLATION = {
    "family": "transformer", "experiment": "transformer-names", "run_name": "transformer", "key": "keyt", "sweep_key": None,
    "timesteps": None, "data": {"name": "names", "content_hash": "b" * 64},
}  # fmt: skip


def journal(folder: Path, steps: int = 3, begin: dict[str, Any] | None = None, pictures: bool = False) -> Path:
    """A journal of ``steps`` lines of figures, the last with a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [{"header": begin or header()}, *(line(step) for step in range(1, steps + 1))]
    if pictures:
        (folder / "previews").mkdir()
        (folder / "previews" / "step-3.png").write_bytes(b"a picture")
        lines.append({"step": steps, "time": 1_700_000_000.0 + steps, "artifact": "previews/step-3.png"})
    file = folder / "journal.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


def line(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "time": 1_700_000_000.0 + step,
        "metrics": {"train/loss": 1 / step, "system/cpu_utilization_percentage": 50.0},
    }


def finished(folder: Path, begin: dict[str, Any] | None = None) -> Path:
    """What a finished training leaves, but for the model itself."""
    return kept.keep(folder, begin or header(), [line(step) for step in range(1, 4)])


def diffusion(folder: Path, timesteps: int = 20, key: str = "key20", content_hash: str = "a" * 64) -> Path:
    finished(
        folder,
        header(
            timesteps=timesteps,
            run_name=f"T={timesteps}",
            key=key,
            data={"name": "digits", "content_hash": content_hash},
        ),
    )
    torch.manual_seed(0)
    config = {
        "model": UNET, "schedule": "cosine", "prediction": "v", "timesteps": timesteps, "label_dropout": 0.1,
        "classes": ["zero", "one", "two"], "data": {},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    _save(UNet(**UNET).state_dict(), folder)
    return folder


def _save(weights: dict[str, torch.Tensor], folder: Path) -> None:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors")


def translation(folder: Path, key: str = "keyt") -> Path:
    finished(folder, header(**TRANSLATION | {"key": key}))
    tokenizer = train(["ab ba abba", "bad cab"], "char", 40)
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"d_model": 8, "d_ff": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0}
    model = sizes | {"vocab_size": tokenizer.get_vocab_size(), "norm": "pre", "tie_embeddings": True, "pad": 0}
    config = {"model": model, "source_language": "en", "target_languages": ["uk"], "max_length": 32, "data": {}}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    weights = Seq2Seq(**model).state_dict()  # type: ignore[arg-type]
    for name in ("source_embedding", "output"):
        weights.pop(name, None)
    _save(weights, folder)
    return folder


def point(timesteps: int, steps: int, frechet: float) -> dict[str, Any]:
    figures = {
        "frechet": frechet,
        "kid": frechet / 10,
        "accuracy": 1 - frechet / 10,
        "milliseconds_per_image": steps / 4,
    }
    return {"timesteps": timesteps, "sampling_steps": steps, "images": 100} | figures


def evaluation(folder: Path, timesteps: int, values: dict[int, float]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    points = [point(timesteps, steps, frechet) for steps, frechet in values.items()]
    best = min(points, key=lambda p: p["frechet"])
    metrics = {"timesteps": timesteps, "floor": {"frechet": 0.5}, "best": best, "points": points}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "samples-S1.png").write_bytes(b"a picture")
    return folder


def comparison(
    reports: Path, frechet: float = 0.6, chrf: float = 50.0, floor: float = 0.5, timesteps: int = 20
) -> Path:
    reports.mkdir(parents=True, exist_ok=True)
    recommended = point(timesteps, 2, frechet)
    scores = {"bleu": 20.0, "chrf": chrf, "exact_match": 0.3, "sentences": 10, "signatures": {"chrf": "nrefs:1|nc:6"}}
    content = {
        "sweep": [recommended, point(timesteps, 5, frechet)],
        "floor": {"frechet": floor},
        "recommended": recommended | {"frechet_over_floor": frechet / floor, "why": "the fastest within the interval"},
        "translation": scores,
    }
    (reports / "comparison.json").write_text(json.dumps(content))
    (reports / "transformer").mkdir(exist_ok=True)
    (reports / "transformer" / "metrics.json").write_text(json.dumps(scores))
    lines = [{"source": text, "reference": text, "translation": text, "chrf": 100.0} for text in ("ab", "cab", "ba")]
    (reports / "transformer" / "translations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return reports
