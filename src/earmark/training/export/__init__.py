"""From torch to a bundle, and from a bundle to a smaller one, or to one that takes waveforms."""

from __future__ import annotations

from earmark.training.export.graph import average, renormalized, to_onnx
from earmark.training.export.precision import halve_weights, precision_of, with_precision
from earmark.training.export.waveform import with_front_end

__all__ = ["average", "halve_weights", "precision_of", "renormalized", "to_onnx", "with_front_end", "with_precision"]
