"""Baselines to compare diffusion with: a variational autoencoder and a generative adversarial network."""
