"""Text from a trained network: decoding, sampling, translation, continuation, classes."""
