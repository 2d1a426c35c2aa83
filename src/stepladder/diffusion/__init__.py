"""Diffusion models: schedules, processes, samplers as pure functions; networks; the task that trains them."""
