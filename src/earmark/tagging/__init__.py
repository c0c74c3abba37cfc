"""Putting names to sounds with a bundle: NumPy and ONNX Runtime, no torch."""
