"""The typed spec: schema of ``params.yaml``, of every preset, of the Prefect form and of the command line.

``tree.Params`` is the full tree; each file here has the sections of one subject. Only ``reading`` reads ``params.yaml``
and the files of presets; ``preset`` applies a preset to the workspace's parameters.
"""

from stepladder.params.adaptation import Adaptation
from stepladder.params.baselines import GAN, VAE
from stepladder.params.classification import Classification
from stepladder.params.classifier import NoisyClassifier
from stepladder.params.data import ImageData, OnBadRow
from stepladder.params.decoding import Decoding
from stepladder.params.diffusion import Diffusion, TextEncoder
from stepladder.params.evaluation import Evaluation, FeatureNet, Sweep
from stepladder.params.preset import Resolved, differences, resolve
from stepladder.params.promotion import Promotion
from stepladder.params.reading import (
    PARAMS_FILE,
    build,
    flatten,
    load,
    merge,
    override,
    parse_overrides,
    presets,
    render,
    section,
)
from stepladder.params.sampling import Sampling
from stepladder.params.section import Section, Training
from stepladder.params.text import TextData
from stepladder.params.transformer import Transformer
from stepladder.params.tree import Params

__all__ = [
    "GAN",
    "PARAMS_FILE",
    "VAE",
    "Adaptation",
    "Classification",
    "Decoding",
    "Diffusion",
    "Evaluation",
    "FeatureNet",
    "ImageData",
    "NoisyClassifier",
    "OnBadRow",
    "Params",
    "Promotion",
    "Resolved",
    "Sampling",
    "Section",
    "Sweep",
    "TextData",
    "TextEncoder",
    "Training",
    "Transformer",
    "build",
    "differences",
    "flatten",
    "load",
    "merge",
    "override",
    "parse_overrides",
    "presets",
    "render",
    "resolve",
    "section",
]
