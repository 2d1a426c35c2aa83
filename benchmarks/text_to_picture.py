"""How well a model draws what a text says: names never seen in training, beside names that were, and beside no text at all.

    python benchmarks/text_to_picture.py --model FOLDER --data data/images --feature-net models/feature-net --out result.json

For held-out pictures, and as many training pictures, the model draws their style and name; ``retrieval`` says whether a drawn
picture finds its own real one among those of its style (0 best, 0.5 chance), ``accuracy`` whether the style is right. Drawn from
another picture's text, the same model shows what the text contributes. A sheet beside the result shows names (columns) by style (rows).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepladder.data.grid import grid, scaled, to_uint8
from stepladder.data.image_arrays import ImageArrays
from stepladder.data.texts import encode, tokenizer_of
from stepladder.diffusion.sampling.drawing import draw, load
from stepladder.evaluation.pictures.features import judge
from stepladder.evaluation.pictures.frechet import frechet_distance
from stepladder.evaluation.pictures.held_out import alike
from stepladder.evaluation.pictures.retrieval import retrieval
from stepladder.params import Sampling

SHOWN = ("grinning cat", "grinning face", "red heart", "dog face", "green apple", "bus", "crying cat", "sun")


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "feature-net", "out"):
        top.add_argument(f"--{name}", type=Path, required=True)
    top.add_argument("--steps", type=int, default=20)
    top.add_argument("--pictures", type=int, default=0, help="held-out pictures, evenly spread; 0: all")
    args = top.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, config = load(args.model)
    model.to(device)
    see = judge(args.feature_net)
    train, test = ImageArrays.open(args.data, "train"), ImageArrays.open(args.data, "test")
    held_out = np.linspace(0, len(test.labels) - 1, args.pictures or len(test.labels)).round().astype(int)
    some = alike(train.labels, test.labels[held_out], 0)
    real, _ = see(scaled(test.images[held_out]))
    floor = frechet_distance(see(scaled(train.images[some]))[0], real)
    rows: list[dict[str, Any]] = []
    for names, arrays, numbers in (
        ("never seen", test, held_out),
        ("seen in training", train, some),
    ):
        pictures, labels = scaled(arrays.images[numbers]), arrays.labels[numbers]
        for text in (True, False):
            for scale in (1.0, 3.0) if text else (1.0,):
                tokens = torch.from_numpy(np.array(arrays.texts[numbers]))
                condition = {"labels": torch.from_numpy(labels), "text": tokens}
                if not text:  # texts of others: the style stays, the name says nothing of the picture
                    condition["text"] = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))]
                sampling = Sampling(sampler="dpmpp_2m", spacing="log_snr", guidance_scale=scale)
                with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                    drawn = scaled(to_uint8(draw(model, config, condition, args.steps, sampling)))
                features, seen = see(drawn)
                row = {
                    "names": names, "text": "their own" if text else "another picture's", "guidance_scale": scale,
                    "accuracy": float((seen == labels).mean()), "frechet": frechet_distance(features, real),
                } | retrieval(drawn, pictures, labels)  # fmt: skip
                rows.append(row)
                print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    tokenizer = tokenizer_of(args.data)
    known = set((args.data / "train_texts.txt").read_text(encoding="utf-8").splitlines())
    styles = len(config["classes"])
    shown = list(SHOWN) + sorted(set((args.data / "test_texts.txt").read_text(encoding="utf-8").splitlines()))[::12]
    asked = [name for _ in range(styles) for name in shown]
    tokens = torch.from_numpy(encode(tokenizer, asked, config["model"]["text_length"]))
    condition = {"labels": torch.arange(styles).repeat_interleave(len(shown)), "text": tokens}
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        sheet = draw(
            model, config, condition, args.steps, Sampling(sampler="dpmpp_2m", spacing="log_snr", guidance_scale=3.0)
        )
    grid(sheet, columns=len(shown), scale=2).save(args.out.with_suffix(".png"))
    parameters = sum(p.numel() for p in model.parameters())
    args.out.write_text(json.dumps({
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU", "command": " ".join(sys.argv),
        "backbone": config["model"].get("backbone", "unet"), "parameters": parameters, "floor": floor, "points": rows,
        "held_out": len(held_out), "columns": [{"name": n, "seen": n in known} for n in shown], "rows": config["classes"],
    }, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
