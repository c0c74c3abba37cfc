"""The embedded model's card, `docs/model-card.md`, from what `bench/embed.py` measured."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

CARD = """# What is in the embedded model, and what is it bad at?

`earmark tag FILE` without `--model` uses the bundle that comes with the package: {n_labels} everyday sounds
and instruments, {megabytes:.1f} MB, a ResNet18 of half the usual width on log-mel pictures of 64 bands up to
16 kHz, windows of 4 s, half of which overlap; its convolutions compute with 8-bit integers. It takes
recordings at 44.1 kHz as they are and resamples others.

## What it is for

Naming the most obvious sound of a clip, and finding where such sounds are in a long recording. It is a small
model, learned from few clips: a first look, or a stand-in until you train your own on your labels. Do not let
it decide anything that matters to somebody's safety, rights or health, and do not take its silence for
absence.

## What it was learned from

893 clips of at most 10 s, of 28 labels, under licences that let learned weights be shared: CC0, CC-BY,
CC-BY-SA, MIT, GPL. They come from ESC-10 (in part), an excerpt of FSDKaggle2018, and sounds that ship with
free instruments, games and drum kits; none of them is in the file, and nothing else was learned from: no
pretrained weights. So that it can say "none of these", it also learned 300 synthesised sounds: speech by
espeak-ng, music by fluidsynth with programs that are none of the labels, noise of many colours, hum and
silence. The weights are under the MIT licence.

`python bench/embed.py ../shared/data/open28` makes the file again; the recipe is `embedded`.

## How good it is

All figures are out of fold: five folds, clips of one recording, player or kit in one of them; calibration
(Platt) and thresholds of a fold are learned on the other four. lwlrap over the 893 clips is **{lwlrap:.3f}**
(95 % interval by source {low:.3f} to {high:.3f}). Calibration error is {ece_before:.4f} before and
{ece_after:.4f} after calibration. That is of the networks as they were learned; on the {n_rounded} sounds that
the first fold holds out, 8 bits change lwlrap from {before:.4f} to {after:.4f}.

`--threshold auto` gives a label from its own threshold on, chosen for a precision of {wanted}: precision
{precision:.2f}, recall {recall:.2f} over all tags; {silent:.0%} of the clips get none. Of the synthesised
sounds of the folds held out, {negatives:.1%} get a tag.

{labels}

## What it says to sounds that it does not know

False tags in a minute of each, by voices, programs and seeds that it did not learn from, in windows as
`earmark tag --timeline --threshold auto` hears them:

{minutes}

## What it is bad at

- Labels with a handful of sources: {weakest} are lowest above. Figures of labels with fewer than ten sources
  say little.
- Everything that is none of its labels and resembles one: real voices, street noise and real music were not
  tried; other percussion is likely to be called by a label of percussion.
- Many sounds at once, and sounds far below others. Clips of the collection mostly hold one.
- Instruments as played in free sample libraries are clean and close; concert recordings are not.
- Recordings below 32 kHz lack the highest bands that it learned from.

Measured by `{command}`, {date}, {machine}; `bench/results/open28/embedded.json` has everything.
"""


def as_card(figures: dict[str, Any], wanted: float) -> str:
    """The page."""
    rows = [
        [row["label"], row["clips"], row["sources"], row["lwlrap"], row["threshold"], row["precision"], row["recall"]]
        for row in figures["labels"]
    ]
    head = ["label", "clips", "sources", "lwlrap", "threshold", "precision", "recall"]
    minutes = [
        [kind, found["false_tags"], ", ".join(f"{name} {n}" for name, n in found["labels"].items())]
        for kind, found in figures["a_minute_of"].items()
    ]
    weakest = sorted(figures["labels"], key=lambda row: row["lwlrap"])[:4]
    return CARD.format(
        n_labels=len(rows),
        megabytes=figures["bytes"] / 1e6,
        lwlrap=figures["lwlrap"]["value"],
        low=figures["lwlrap"]["low"],
        high=figures["lwlrap"]["high"],
        ece_before=figures["ece"]["before"],
        ece_after=figures["ece"]["after, held out"],
        n_rounded=figures["eight_bits"]["n_clips"],
        before=figures["eight_bits"]["lwlrap_before"],
        after=figures["eight_bits"]["lwlrap_after"],
        wanted=f"{wanted:g}",
        precision=figures["at_thresholds_held_out"]["precision"],
        recall=figures["at_thresholds_held_out"]["recall"],
        silent=figures["clips_without_a_tag"],
        negatives=figures["negatives_with_a_tag"],
        labels=tabulate(rows, head, tablefmt="github", floatfmt=".2f", missingval=""),
        minutes=tabulate(minutes, ["a minute of", "false tags", "which"], tablefmt="github"),
        weakest=", ".join(row["label"] for row in weakest),
        command=figures["command"],
        date=figures["date"][:10],
        machine=figures["machine"],
    )
