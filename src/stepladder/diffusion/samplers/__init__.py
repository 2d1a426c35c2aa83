"""Samplers: plain functions from noise to pictures."""
