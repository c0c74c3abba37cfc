"""The figures of `bench/scaling.py` as a page, and what follows from them for a million clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tabulate import tabulate

N_CLIPS = 1_000_000
BEGIN, END = "<!-- figures, written by bench/scaling.py -->\n", "<!-- end of figures -->\n"
BAR = 0.85
"""Least rate on Ray that is asked for, of the local one with the same cores."""


def as_page(kept: dict[str, Any]) -> str:
    """All parts that there are, in Markdown."""
    parts = [PARTS[name](kept[name]["figures"], kept) for name in PARTS if kept.get(name, {}).get("figures")]
    abouts = {f"- {name}: {_about(kept[name]['about'])}" for name in PARTS if name in kept}
    return (
        "\n\n".join([*parts, *([million(kept)] if _has(kept, "ray", "stages") else []), "\n".join(sorted(abouts))])
        + "\n"
    )


def into_docs(page: Path, figures: str) -> None:
    """Put the figures into a page, between its marks."""
    text = page.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:before]}\n{figures}\n{text[after:]}", encoding="utf-8")


def _about(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"`{about['command']}`, {about['date']}, {about['machine']}, {versions}"


def _has(kept: dict[str, Any], *names: str) -> bool:
    return all(kept.get(name, {}).get("figures") for name in names)


def _table(title: str, headers: list[str], rows: list[list[Any]]) -> str:
    return f"{title}\n\n{tabulate(rows, headers, tablefmt='github', disable_numparse=True)}"


def local_rate(kept: dict[str, Any]) -> float:
    """Files of 10 s a second of the local command with all cores, start included; median of the rounds."""
    figures = kept["ray"]["figures"]
    seconds = sorted(one["local_s"] for one in figures["rounds"])
    return figures["n_files"] / seconds[len(seconds) // 2]


def ray_page(figures: dict[str, Any], kept: dict[str, Any]) -> str:
    """Local against Ray."""
    n, killed = figures["n_files"], figures["killed"]
    rows = [
        [f"round {i}", f"{one['local_s']:.1f}", f"{one['ray_s']:.1f}", f"{one['local_s'] / one['ray_s']:.2f}"]
        for i, one in enumerate(figures["rounds"], start=1)
    ]
    start = figures["start_s"]
    rows.append(["of it start (a call with two files)", f"{start['local']:.1f}", f"{start['ray']:.1f}", ""])
    rows.append(["an actor killed half-way", "", f"{killed['seconds']:.1f}", ""])
    verdict = "reached" if figures["rate_ratio"] >= BAR else "not reached"
    return (
        _table(
            f"{n:,} files of 10 s, {figures['n_cores']} cores, whole calls:", ["", "local s", "Ray s", "ratio"], rows
        )
        + f"\n\nMedian ratio {figures['rate_ratio']:.2f}; {BAR} is {verdict}. {figures['rows']:,} rows, equal: "
        f"{_yes(figures['rows_equal'])}; with {killed['n_killed']} actor killed, equal: {_yes(killed['rows_equal'])}."
    )


def nodes_page(figures: dict[str, Any], kept: dict[str, Any]) -> str:
    """Two nodes."""
    rows = [
        ["both to the end", f"{figures['seconds_whole']:.1f}", _yes(figures["rows_equal_whole"])],
        ["one cut off half-way", f"{figures['seconds_cut']:.1f}", _yes(figures["rows_equal_cut"])],
    ]
    n_lost = sum(figures["actors_on_what_was_cut_off"])
    title = (
        f"Two nodes of one core, {figures['kind']}; {figures['n_files']:,} files, {n_lost} actors on what was cut off:"
    )
    return _table(title, ["", "s", "rows equal to the local ones"], rows)


def _yes(equal: bool) -> str:
    return "yes" if equal else "NO"


def _curve(title: str, name: str, unit: str) -> Any:
    def page(figures: list[dict[str, Any]], kept: dict[str, Any]) -> str:
        rows = [
            [f"{one[name]:,}", f"{one['s']:.1f}", f"{one.get('n_files', one[name]) / one['s']:.1f}"] for one in figures
        ]
        return _table(title, [name, "s", unit], rows)

    return page


def hours_page(figures: list[dict[str, Any]], kept: dict[str, Any]) -> str:
    """One recording."""
    rows = [[f"{one['minutes']:g}", f"{one['s']:.1f}", f"{60 * one['minutes'] / one['s']:,.0f}"] for one in figures]
    return _table("One recording, all cores:", ["minutes", "s", "times real time"], rows)


def workers_page(figures: list[dict[str, Any]], kept: dict[str, Any]) -> str:
    """By workers."""
    rows = [
        [one["where"], one["n_workers"], f"{one['s']:.1f}", f"{one['n_files'] / (one['s'] - one['start_s']):.1f}"]
        for one in figures
    ]
    return _table(f"{figures[0]['n_files']:,} files:", ["where", "workers", "s", "files/s without the start"], rows)


def stages_page(figures: dict[str, float], kept: dict[str, Any]) -> str:
    """Where a core's time goes."""
    rows = [[name.removesuffix("_s"), f"{1000 * seconds:.2f}"] for name, seconds in figures.items()]
    return _table(
        "A clip of 10 s on one core:", ["stage", "ms"], [*rows, ["all", f"{1000 * sum(figures.values()):.2f}"]]
    )


def clips_page(figures: list[dict[str, float]], kept: dict[str, Any]) -> str:
    """Training by clips."""
    rows = [[f"{one['n_clips']:,}", f"{one['pack_s']:.1f}", f"{one['train_s']:.1f}"] for one in figures]
    return _table("Two folds of one epoch, recipe `fast`:", ["clips of 10 s", "pack s", "train s"], rows)


def gpu_page(figures: dict[str, Any], kept: dict[str, Any]) -> str:
    """Networks alone."""
    rows = [[name, f"{rate:,.0f}"] for name, rate in figures["clips_per_s"].items()]
    return _table(f"Networks alone on {figures['device']}:", ["recipe", "clips of 10 s a second"], rows)


def million(kept: dict[str, Any]) -> str:
    """What a million clips of 10 s cost, by arithmetic."""
    ray, stages = kept["ray"]["figures"], kept["stages"]["figures"]
    rate, ratio, n_cores = local_rate(kept), ray["rate_ratio"], ray["n_cores"]
    on_64 = 64 * rate / n_cores * ratio
    front_s = stages["decode_s"] + stages["log_mel_s"]
    rows = [
        [f"{n_cores} cores, local", f"{N_CLIPS:,} / {rate:.1f} a second", _hours(N_CLIPS / rate)],
        [
            "64 cores, Ray",
            f"{N_CLIPS:,} / (64 x {rate:.1f} / {n_cores} x {ratio:.2f} = {on_64:,.0f} a second)",
            _hours(N_CLIPS / on_64),
        ],
        [
            "8 GPUs with 64 cores, at the best",
            f"{N_CLIPS:,} x {1000 * front_s:.2f} ms of decoding and log-mel / 64, the networks in their shadow",
            _hours(N_CLIPS * front_s / 64),
        ],
    ]
    return _table("A million clips of 10 s:", ["on", "arithmetic", "hours"], rows)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


PARTS = {
    "ray": ray_page,
    "nodes": nodes_page,
    "files": _curve("Files of 10 s, all cores:", "n_files", "files/s"),
    "hours": hours_page,
    "labels": _curve("Labels, networks of the recipe `fast`, all cores:", "n_labels", "files/s"),
    "workers": workers_page,
    "stages": stages_page,
    "clips": clips_page,
    "gpu": gpu_page,
}
