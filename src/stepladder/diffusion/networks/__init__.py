"""The denoising networks; their inputs are a noisy picture, a noise level and a condition."""
