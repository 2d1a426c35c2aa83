"""Reproducible training of Transformers and diffusion models, with the timestep sweep as its own subject."""
