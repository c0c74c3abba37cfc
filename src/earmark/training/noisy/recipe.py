"""What a recipe may say of clips that a machine labelled."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from earmark.training.ranges import Count, NonNegative, PositiveCount, Probability, Table

Strategy = Literal["ignore", "all", "hard-classes", "pretrain", "two-heads", "agree", "relabel", "soft"]

OPTIONS: dict[str, tuple[Strategy, ...]] = {
    "rate": ("all", "hard-classes", "two-heads", "agree", "relabel", "soft"),
    "hard_share": ("hard-classes",),
    "inner_folds": ("hard-classes",),
    "pretrain_epochs": ("pretrain",),
    "agree_top": ("agree",),
    "agree_score": ("agree",),
    "given_weight": ("relabel",),
    "rounds": ("agree", "relabel"),
    "bootstrap_weight": ("soft",),
}
"""Which strategies each option is for."""


class NoisyRecipe(Table, frozen=True):
    """The table `[noisy]`.

    Attributes
    ----------
    strategy
        ``"ignore"``: nothing is learned from noisy clips. ``"all"``: they are learned from as if people had labelled
        them. ``"hard-classes"``: so are those with a single label, if it is one of those that networks tell worst.
        ``"pretrain"``: they are learned from at first, then the curated ones alone. ``"two-heads"``: each subset has a
        last layer and normalisation of its own, and shares the rest. ``"agree"``: of their labels count those that
        networks support which never saw the clip. ``"relabel"``: their labels are mixed with what such networks say.
        ``"soft"``: they are mixed with what the network that learns says itself.
    rate
        Noisy clips to a curated one in each batch, 0 for as many as there are of each. An epoch has every curated clip
        once.
    hard_share
        The share of all labels that ``"hard-classes"`` takes.
    inner_folds
        Into how many parts ``"hard-classes"`` divides the curated clips to find them out of fold.
    pretrain_epochs
        Over the noisy clips alone.
    agree_top, agree_score
        ``"agree"`` keeps a label that is among so many best of its clip and has at least this score.
    given_weight
        What the given labels count for in ``"relabel"``; the rest is the networks' scores.
    rounds
        How often ``"agree"`` and ``"relabel"`` ask networks that learned from the other noisy clips too, after those
        that learned from curated clips alone.
    bootstrap_weight
        What the given labels count for in ``"soft"``; the rest is the network's scores.
    """

    strategy: Strategy = "ignore"
    rate: NonNegative = 0.0
    hard_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    inner_folds: Annotated[int, msgspec.Meta(ge=2)] = 3
    pretrain_epochs: PositiveCount = 20
    agree_top: PositiveCount = 2
    agree_score: Probability = 0.1
    given_weight: Probability = 0.3
    rounds: Count = 1
    bootstrap_weight: Probability = 0.5

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(type(self)):
            strategies = OPTIONS.get(field.name, (self.strategy,))
            if self.strategy not in strategies and getattr(self, field.name) != field.default:
                expected = " or ".join(f"'{strategy}'" for strategy in strategies)
                raise ValueError(
                    f"{field.name} goes with strategy {expected} alone; got '{self.strategy}'; leave {field.name} out, "
                    "or change the strategy"
                )

    @property
    def apart(self) -> bool:
        """Whether clips of one subset are mixed with one another alone, because the loss or the layers differ."""
        return self.strategy in {"two-heads", "soft"}
