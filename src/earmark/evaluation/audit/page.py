"""The page with which somebody listens to suspected clips and decides: static files, or what a server hands out."""

from __future__ import annotations

import html
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from earmark.atomic import write_text_atomically
from earmark.audio.decode import decode
from earmark.audio.draw import COLOUR_MAP, SHOWN_DB, frequency_ticks
from earmark.audio.logmel import log_mel
from earmark.audio.picture import PictureSpec
from earmark.data.selection import Correction
from earmark.errors import AudioError, MissingExtraError
from earmark.evaluation.audit.decisions import Decision, State
from earmark.evaluation.audit.findings import Audit
from earmark.evaluation.audit.report import clip_fields

PLAYED = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".webm": "audio/webm",
}
"""What browsers play, with its media type; other recordings are given to them as 16-bit WAV."""

MAX_COLUMNS = 1200
"""Of a picture; of more frames, the loudest of some that are neighbours is shown."""


def page_data(audit: Audit, spec: PictureSpec, state: State, *, served: bool) -> dict[str, Any]:
    """Everything that the page shows, for JSON.

    Parameters
    ----------
    audit
        The clips to be listened to.
    spec
        The front end of the run, by which pictures are drawn.
    state
        What is decided already.
    served
        Whether a server keeps decisions, or the browser does.

    Returns
    -------
    dict
        Clip number i has its sound at ``sounds/i`` and its picture at ``pictures/i.png``; a static page's sounds have
        their suffix.
    """
    rows, labels = frequency_ticks(spec, 0, spec.log_mel.n_mels)
    return {
        "key": audit.key,
        "run": audit.run,
        "served": served,
        "labels": list(audit.vocabulary),
        "n_suspected": min(audit.n_suspected, len(audit.findings)),
        "ticks": [[round(row / (spec.log_mel.n_mels - 1), 4), label] for row, label in zip(rows, labels, strict=True)],
        "clips": [
            {
                **clip_fields(found),
                "sound": f"sounds/{i}" if served else f"sounds/{i}{_suffix(found.clip.path)}",
                "picture": f"pictures/{i}.png",
            }
            for i, found in enumerate(audit.findings)
        ],
        **state_fields(state),
    }


def state_fields(state: State) -> dict[str, Any]:
    """Decisions for JSON, by the clip's name; `action` is null where nothing is decided."""
    decisions = {
        name: {
            "revision": each.revision,
            "action": each.correction.action if each.correction else None,
            "labels": list(each.correction.labels) if each.correction else [],
            "why": each.correction.why if each.correction else "",
        }
        for name, each in state.known.items()
    }
    return {"revision": state.revision, "undecided": state.undecided, "decisions": decisions}


def page_html(data: Mapping[str, Any]) -> str:
    """The page as one file of HTML, its style, its program and its data inside."""
    web = resources.files("earmark.evaluation.audit") / "web"
    text = (web / "page.html").read_text(encoding="utf-8")
    # JSON inside HTML: a label or a file's name must not end the element that holds it
    content = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    parts = {
        "TITLE": html.escape(f"{data['run']}: audit"),
        "STYLE": (web / "page.css").read_text(encoding="utf-8"),
        "PROGRAM": (web / "page.js").read_text(encoding="utf-8"),
        "DATA": content.replace("\u2029", "\\u2029"),
    }
    for name, part in parts.items():
        text = text.replace(f"<!--{name}-->", part, 1)
    return text


def write_page(
    folder: Path,
    audit: Audit,
    spec: PictureSpec,
    corrections: Sequence[Correction] = (),
    *,
    progress: bool = True,
) -> list[AudioError]:
    """Write a static page: `index.html`, which works without a server, and sounds and pictures beside it.

    Parameters
    ----------
    folder
        Is made where it is not there; what an earlier page left in it is replaced.
    audit
        The clips to be listened to, with the places of their recordings.
    spec
        The front end of the run.
    corrections
        What is decided already.
    progress
        Whether to show a bar on standard error.

    Returns
    -------
    list of AudioError
        Of recordings that cannot be read; the page has the clips all the same.
    """
    for name in ("sounds", "pictures"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    state = State(0, 0, {each.fname: Decision(0, each) for each in corrections})
    data = page_data(audit, spec, state, served=False)
    errors = []
    bar = tqdm(audit.findings, desc="page", unit="clip", disable=not progress)
    for found, said in zip(bar, data["clips"], strict=True):
        try:
            picture = spectrogram_png(found.clip.path, spec)
            sound = sound_bytes(found.clip.path)
        except AudioError as error:
            errors.append(error)
            continue
        (folder / said["picture"]).write_bytes(picture)
        (folder / said["sound"]).write_bytes(sound)
    write_text_atomically(folder / "index.html", page_html(data))
    return errors


def sound_bytes(recording: Path) -> bytes:
    """A recording as browsers play it: as it is, or as 16-bit WAV; `AudioError` when it cannot be read."""
    if recording.suffix.lower() in PLAYED:
        return recording.read_bytes()
    waveform = decode(recording)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform.samples, -1, 1), waveform.sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def spectrogram_png(recording: Path, spec: PictureSpec) -> bytes:
    """A recording's whole log-mel spectrogram as a PNG image, a row a band, low bands at the bottom.

    Parameters
    ----------
    recording
        Of any length; the picture has at most `MAX_COLUMNS` columns.
    spec
        The front end; silence is not cut off, so that time on the picture is time in the recording.

    Raises
    ------
    AudioError
        When the recording cannot be read.
    MissingExtraError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.image import imsave
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing", "audit") from error
    values = log_mel(decode(recording, spec.log_mel.sample_rate).samples, spec.log_mel)
    n_joined = -(-values.shape[1] // MAX_COLUMNS)
    starts = np.arange(0, values.shape[1], n_joined)
    values = np.maximum.reduceat(values, starts, axis=1)
    highest = float(values.max())
    lowest = max(float(values.min()), highest - SHOWN_DB / spec.log_mel.db_per_unit)
    buffer = io.BytesIO()
    imsave(buffer, values[::-1], vmin=lowest, vmax=max(highest, lowest + 1e-6), cmap=COLOUR_MAP, format="png")
    return buffer.getvalue()


def _suffix(recording: Path) -> str:
    suffix = recording.suffix.lower()
    return suffix if suffix in PLAYED else ".wav"
