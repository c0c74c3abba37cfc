"""The transform is SciPy's, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from earmark.audio import fft


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_fft", [1, 2, 255, 1024])
def test_it_gives_what_scipy_gives(dtype: type, n_fft: int) -> None:
    frames = np.random.default_rng(0).standard_normal((7, n_fft)).astype(dtype)
    expected = scipy.fft.rfft(frames, axis=1)
    for transform in (fft.rfft, fft._public()):
        spectra = transform(frames)
        assert spectra.dtype == expected.dtype
        np.testing.assert_array_equal(spectra, expected)


def test_frames_may_overlap_in_memory() -> None:
    samples = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 32)[::8]
    np.testing.assert_array_equal(fft.rfft(frames), scipy.fft.rfft(np.ascontiguousarray(frames), axis=1))


@pytest.mark.parametrize("code", [None, "", "raise ImportError('not for you')", "def r2c(frames, axes): return frames"])
def test_what_is_missing_or_answers_otherwise_is_not_used(code: str | None, tmp_path: Path) -> None:
    if code is not None:
        (tmp_path / "pypocketfft.py").write_text(code)
    assert fft.extension(tmp_path) is None
