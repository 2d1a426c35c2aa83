"""Classification from a pre-trained encoder, against one from scratch."""

from __future__ import annotations

from stepladder.params.section import Section, Training


class Classification(Section):
    """`make classification`: a masked model of the texts, then a classifier that starts from it, beside one from scratch."""

    pretraining: Training = Training(
        steps=2000,
        batch_size=4096,
        learning_rate=2e-3,
        warmup_steps=200,
        weight_decay=0.01,
        beta2=0.98,
        ema_half_life=0.03,
        validate_every=500,
    )
