"""The front end before the network, in one graph: waveforms in, scores out."""

from __future__ import annotations

import onnx
import onnx.compose
import onnx.version_converter
import torch
from torch import Tensor

from earmark.audio.picture import PictureSpec
from earmark.audio.waveform_windows import window_samples
from earmark.bundle import INPUT_NAME, WAVEFORMS_NAME
from earmark.training.export.graph import exported
from earmark.training.frontend import WaveformPictures, bounded, to_channels

PREFIX = "front_end/"


class WindowPictures(WaveformPictures):
    """Pictures of windows: (n, n_samples) waveforms to (n, n_channels, height, window_frames).

    What `earmark.audio.picture.windows` makes of the clip that `earmark.audio.waveform_windows.waveform_windows` cut
    the waveforms from, with one difference: what is measured to normalise with (``"clip"``, ``"minmax"``) is measured
    over a window. Of more samples than a window, those beyond it are not heard.

    Parameters
    ----------
    spec
        The front end.
    window_frames
        Length of a window in frames; what a shorter clip leaves of it is filled as the front end says.
    """

    def __init__(self, spec: PictureSpec, window_frames: int) -> None:
        super().__init__(spec)
        self.window_frames = window_frames

    def forward(self, waveforms: Tensor) -> Tensor:
        """Make pictures; shapes as the class says."""
        spec = self.spec
        spectrograms = self.log_mel.of_part(waveforms)
        shift, factor = self._normalizer(spectrograms)
        if spec.short == "wrap":
            n_frames = torch.arange(spectrograms.shape[2])[-1] + 1  # a tensor, for which the exporter has a remainder
            filled = spectrograms[:, :, torch.remainder(torch.arange(self.window_frames), n_frames)]
        else:
            n, n_mels, _ = spectrograms.shape
            silence = spectrograms.new_full((n, n_mels, self.window_frames), spec.log_mel.silence)
            filled = torch.cat([spectrograms, silence], dim=2)[:, :, : self.window_frames]
        return to_channels(bounded((filled - shift) * factor, spec), spec)


def with_front_end(model: onnx.ModelProto, picture: PictureSpec, window_frames: int) -> onnx.ModelProto:
    """Put a front end before a network.

    Parameters
    ----------
    model
        From `pictures` to scores; of whatever precision, the front end computes in float64 where it has to.
    picture
        What makes the pictures, less trimming and lengthening, which are the caller's.
    window_frames
        Their length.

    Returns
    -------
    onnx.ModelProto
        From `waveforms`, (n_windows, n_samples) float32 as `earmark.audio.waveform_windows` cuts them, to scores.
    """
    example = torch.zeros(2, window_samples(picture.log_mel, window_frames))
    front_end = exported(
        WindowPictures(picture, window_frames).eval(),
        example,
        {0: torch.export.Dim("n_windows"), 1: torch.export.Dim("n_samples", min=picture.log_mel.n_fft + 1)},
        input_name=WAVEFORMS_NAME,
        output_names=[INPUT_NAME],
    )
    front_end, model = _alike(front_end, model)
    # values of the network keep their names; its input's is what joins the two
    front_end = onnx.compose.add_prefix(front_end, PREFIX, rename_inputs=False, rename_functions=False)
    return onnx.compose.merge_models(front_end, model, io_map=[(f"{PREFIX}{INPUT_NAME}", INPUT_NAME)])


def _alike(*models: onnx.ModelProto) -> list[onnx.ModelProto]:
    """The same graphs under the newest of their operator sets and file formats, which a merged graph has one of."""
    newest = max(_opset(model) for model in models)
    raised = [
        model if _opset(model) == newest else onnx.version_converter.convert_version(model, newest) for model in models
    ]
    for model in raised:
        model.ir_version = max(other.ir_version for other in models)
    return raised


def _opset(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
