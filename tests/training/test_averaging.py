from __future__ import annotations

import pytest
from torch import nn

from earmark.training.averaging import Average
from earmark.training.recipe import FitRecipe


def taken_in(fit: FitRecipe, values: list[float]) -> Average:
    """The average of a network of one weight that took these values, one after the other."""
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, fit, len(values))
    for step, value in enumerate(values):
        nn.init.constant_(network.weight, value)
        average.update(step)
    return average


def weight_of(average: Average) -> float:
    return next(average.network.parameters()).item()


def test_swa_is_the_mean_of_the_last_weights() -> None:
    fit = FitRecipe(averaging="swa", swa_share=0.5)
    assert weight_of(taken_in(fit, [100.0, 50.0, 1.0, 6.0])) == pytest.approx(3.5)


def test_before_there_is_an_average_the_network_itself_stands_for_it() -> None:
    average = taken_in(FitRecipe(averaging="swa", swa_share=0.5), [7.0])
    fresh = Average(average.current, FitRecipe(averaging="swa", swa_share=0.1), 100)
    fresh.update(0)
    assert weight_of(fresh) == 7.0


def test_none_keeps_the_last_weights() -> None:
    average = taken_in(FitRecipe(averaging="none"), [1.0, 5.0])
    assert average.network is average.current
    assert weight_of(average) == 5.0
    assert average.state_dict() == {}


def test_moving_average_follows_its_definition() -> None:
    values = [1.0, 3.0, -2.0, 8.0, 8.0, 1.0, 0.0, 4.0, 4.0, 4.0]
    expected = values[0]
    for t, value in enumerate(values[1:], start=1):
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * value
    assert weight_of(taken_in(FitRecipe(ema_decay=0.5), values)) == pytest.approx(expected)


def test_statistics_of_normalisation_are_averaged_too() -> None:
    network = nn.BatchNorm1d(1)
    average = Average(network, FitRecipe(ema_decay=0.5), 2)
    network.running_mean.fill_(2.0)  # type: ignore[union-attr]
    average.update(0)
    network.running_mean.fill_(4.0)  # type: ignore[union-attr]
    average.update(1)
    # (1 + 1) / (10 + 1) of the old at the second update
    assert average.network.running_mean.item() == pytest.approx(2 * 2 / 11 + 4 * 9 / 11)


def test_an_average_goes_on_from_its_state() -> None:
    fit = FitRecipe(ema_decay=0.9)
    whole = taken_in(fit, [1.0, 2.0, 3.0, 4.0])
    begun = taken_in(fit, [1.0, 2.0])
    network = nn.Linear(1, 1, bias=False)
    rest = Average(network, fit, 4)
    rest.load_state_dict(begun.state_dict())
    for step, value in ((2, 3.0), (3, 4.0)):
        nn.init.constant_(network.weight, value)
        rest.update(step)
    assert weight_of(rest) == weight_of(whole)
