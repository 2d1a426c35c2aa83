"""What diffusion is compared with: a variational autoencoder and a generative adversarial network."""
