"""Another sample rate, by soxr at high quality: at once, or block by block with the same result."""

from __future__ import annotations

import numpy as np
import soxr

from earmark.errors import AudioError

QUALITY = "HQ"


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Change the rate of a waveform.

    Parameters
    ----------
    samples
        (n_samples,) float32.
    rate, target_rate
        What it has, and what it shall have, in Hz.

    Returns
    -------
    np.ndarray
        (ceil(n_samples * target_rate / rate),) float32.

    Raises
    ------
    AudioError
        When a rate is not a whole number above 0.
    """
    check_rate(rate)
    check_rate(target_rate)
    if rate == target_rate:
        return np.ascontiguousarray(samples, dtype=np.float32)
    resampled = soxr.resample(np.asarray(samples, dtype=np.float32), rate, target_rate, quality=QUALITY)
    return _of_length(resampled, resampled_length(len(samples), rate, target_rate))


class StreamResampler:
    """Changes the rate of a waveform that comes in blocks; what it gives, end to end, is what `resample` gives.

    Parameters
    ----------
    rate, target_rate
        What the blocks have, and what they shall have, in Hz; `AudioError` when one is not a whole number above 0.

    Examples
    --------
    >>> resampler = StreamResampler(48000, 16000)
    >>> block = np.zeros(48000, dtype=np.float32)
    >>> len(resampler.push(block)) + len(resampler.push(block, last=True))
    32000
    """

    def __init__(self, rate: int, target_rate: int) -> None:
        check_rate(rate)
        check_rate(target_rate)
        self.rate, self.target_rate = rate, target_rate
        self._soxr = None if rate == target_rate else soxr.ResampleStream(rate, target_rate, 1, quality=QUALITY)
        self._n_in = self._n_out = 0

    def push(self, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Take a block, give what is settled.

        Parameters
        ----------
        samples
            (n_samples,) float32, which may be none.
        last
            Whether no more comes, so that everything is settled.

        Returns
        -------
        np.ndarray
            (n,) float32, which may be none.
        """
        if last and not self._n_in:
            return resample(samples, self.rate, self.target_rate)  # faster at once
        resampled = np.ascontiguousarray(samples, dtype=np.float32)
        self._n_in += len(samples)
        if self._soxr is not None:
            resampled = self._soxr.resample_chunk(resampled, last=last)
            if last:
                n_in_all = resampled_length(self._n_in, self.rate, self.target_rate)
                resampled = _of_length(resampled, n_in_all - self._n_out)
        self._n_out += len(resampled)
        return resampled


def resampled_length(n_samples: int, rate: int, target_rate: int) -> int:
    """Length of `n_samples` samples at another rate: rounded up, so that the shortest clip keeps a sample."""
    return -(-n_samples * target_rate // rate)


def check_rate(hz: object) -> None:
    """Raise an `AudioError` when a sample rate is not a whole number above 0."""
    if not (isinstance(hz, (int, np.integer)) and hz > 0):
        raise AudioError(f"the sample rate is {hz!r} Hz; expected a whole number above 0, such as 44100")


def _of_length(samples: np.ndarray, n_samples: int) -> np.ndarray:
    # soxr rounds the length to the nearest sample, which is none for the shortest clips
    n_missing = n_samples - len(samples)
    return samples[:n_samples] if n_missing <= 0 else np.concatenate([samples, np.zeros(n_missing, dtype=np.float32)])
