"""What a recipe may say of augmentation: one table for each, which is done where its table stands.

Each has the `probability` that a clip, or a picture, is changed at all, and how strongly.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from earmark.training.ranges import NonNegative, Positive, PositiveCount, Probability, Table

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Decibels = tuple[float, float]


def _check_rising(name: str, limits: tuple[float, float]) -> None:
    if limits[0] > limits[1]:
        raise ValueError(f"{name} is {list(limits)}; expected the lower limit first")


class Gain(Table, frozen=True):
    """Louder or softer by up to `gain_db`."""

    probability: Probability = 1.0
    gain_db: NonNegative = 6.0


class Equaliser(Table, frozen=True):
    """Bands louder or softer along a line through `n_points` random values of up to `gain_db`.

    A microphone and a room in the place of the recording's own; after Nam et al., *FilterAugment*, ICASSP 2022.
    """

    probability: Probability = 1.0
    gain_db: NonNegative = 6.0
    n_points: Annotated[int, msgspec.Meta(ge=2)] = 5


class Polarity(Table, frozen=True):
    """The waveform turned upside down."""

    probability: Probability = 0.5


class Shift(Table, frozen=True):
    """The waveform moved by up to `max_s`, either way; what leaves its window at one end enters at the other."""

    probability: Probability = 1.0
    max_s: Positive = 1.0


class Noise(Table, frozen=True):
    """Noise of a random colour added to the waveform.

    `snr_db` are the limits of how far the clip lies above it; `exponents` of a in a power density of 1 / f^a: 0 is
    white, 1 pink, 2 brown, -1 blue.
    """

    probability: Probability = 0.5
    snr_db: Decibels = (10.0, 40.0)
    exponents: tuple[float, float] = (0.0, 2.0)

    def __post_init__(self) -> None:
        _check_rising("snr_db", self.snr_db)
        _check_rising("exponents", self.exponents)


class Background(Table, frozen=True):
    """Another recording added to the waveform, `snr_db` below it; its labels are not.

    From the packed store of waveforms that `store` names, or from the clips that are learned from.
    """

    probability: Probability = 0.5
    snr_db: Decibels = (10.0, 30.0)
    store: str = ""

    def __post_init__(self) -> None:
        _check_rising("snr_db", self.snr_db)


class Mixup(Table, frozen=True):
    """Two clips mixed by a weight, which is drawn from Beta(`alpha`, `alpha`) and taken as at least one half.

    `on` pictures or waveforms. Labels are ``"weighted"`` as the clips are, or ``"united"``: all that are in either.
    Zhang et al., *mixup: Beyond Empirical Risk Minimization*, ICLR 2018.
    """

    probability: Probability = 1.0
    alpha: Positive = 0.4
    on: Literal["picture", "waveform"] = "picture"
    labels: Literal["weighted", "united"] = "weighted"


class Concatenation(Table, frozen=True):
    """The window's end replaced with another clip's, across a soft border of `border_s`.

    The first clip keeps a share of the window that is drawn from Beta(`alpha`, `alpha`) and at least one half. Labels
    as in `Mixup`.
    """

    probability: Probability = 0.5
    alpha: Positive = 1.0
    border_s: NonNegative = 0.1
    on: Literal["picture", "waveform"] = "picture"
    labels: Literal["weighted", "united"] = "united"


class TimeMask(Table, frozen=True):
    """`n_masks` stretches of up to `max_s` blanked out: SpecAugment without its warp, Park et al., Interspeech 2019."""

    probability: Probability = 1.0
    n_masks: PositiveCount = 1
    max_s: Positive = 0.5


class BandMask(Table, frozen=True):
    """`n_masks` runs of bands, each up to `max_share` of all, blanked out, as in SpecAugment."""

    probability: Probability = 1.0
    n_masks: PositiveCount = 1
    max_share: Share = 0.15


class Cutout(Table, frozen=True):
    """`n_holes` rectangles blanked out, up to `max_share` of the picture high and long: DeVries and Taylor, 2017."""

    probability: Probability = 1.0
    n_holes: PositiveCount = 1
    max_share: Share = 0.25


class Stretch(Table, frozen=True):
    """Played faster or slower by a factor of up to ``1 + max_change``."""

    probability: Probability = 1.0
    max_change: Share = 0.1


class BandShift(Table, frozen=True):
    """Moved up or down by up to `max_share` of the bands."""

    probability: Probability = 1.0
    max_share: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.05


class ResizedCrop(Table, frozen=True):
    """A random part of the picture made as large as the whole.

    `time_share` and `band_share` are the limits of how much of it stays, as shares of its length and height; a share
    above 1 reaches into what lies outside, where the outermost values go on. Niizumi et al., *BYOL for Audio*, 2021.
    """

    probability: Probability = 1.0
    time_share: tuple[Positive, Positive] = (0.7, 1.0)
    band_share: tuple[Positive, Positive] = (0.8, 1.0)

    def __post_init__(self) -> None:
        _check_rising("time_share", self.time_share)
        _check_rising("band_share", self.band_share)


class Brightness(Table, frozen=True):
    """Up to `max_change` added to or taken from all values of the normalised picture."""

    probability: Probability = 1.0
    max_change: Positive = 0.2


class Contrast(Table, frozen=True):
    """The normalised picture's distance from its mean multiplied by ``1 - max_change`` to ``1 + max_change``."""

    probability: Probability = 1.0
    max_change: Share = 0.2


class AugmentRecipe(Table, frozen=True):
    """Everything that is done to what is learned from, in the order in which it is done.

    What is concatenated or mixed as waveforms is that before its gain, which is done to spectrograms. With
    `off_for_last`, the last share of all epochs sees clips as they are.
    """

    off_for_last: Probability = 0.0
    shift: Shift | None = None
    polarity: Polarity | None = None
    background: Background | None = None
    noise: Noise | None = None
    gain: Gain | None = None
    equaliser: Equaliser | None = None
    concatenation: Concatenation | None = None
    stretch: Stretch | None = None
    band_shift: BandShift | None = None
    resized_crop: ResizedCrop | None = None
    brightness: Brightness | None = None
    contrast: Contrast | None = None
    mixup: Mixup | None = None
    time_mask: TimeMask | None = None
    band_mask: BandMask | None = None
    cutout: Cutout | None = None

    @property
    def changes_waveform(self) -> bool:
        """Whether clips are changed before their spectrogram is made, so that it cannot be made in advance."""
        on_waveform = any((self.shift, self.polarity, self.background, self.noise))
        return on_waveform or any(
            part is not None and part.on == "waveform" for part in (self.mixup, self.concatenation)
        )
