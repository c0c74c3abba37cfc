"""The audit's server: what it hands out, what it keeps, and what it refuses."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile
from PIL import Image

from earmark.data.selection import Correction, read_corrections, write_corrections

from .conftest import LABELS, Served


def decide(served: Served, fname: str, action: str | None, *labels: str, seen: int = 0) -> requests.Response:
    content = {"fname": fname, "seen": seen, "action": action, "labels": labels, "why": "listened to"}
    return requests.post(f"{served.address}/decisions", json=content, timeout=10)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_the_clips_in_order(served: Served) -> None:
    data = data_of(requests.get(served.address, timeout=10).text)
    assert [clip["fname"] for clip in data["clips"]] == ["bark.wav", "two.ogg", "odd, <i>.aiff"]
    assert data["clips"][0]["suggested"][0] == {"label": "Meow", "score": 0.8}
    assert data["labels"] == list(LABELS)
    assert data["served"]


def test_no_name_ends_the_pages_program(served: Served) -> None:
    page = requests.get(served.address, timeout=10).text
    assert page.count("</script>") == 2
    assert "<b>Bold" not in page


def test_sounds_are_as_they_are_or_as_wav(served: Served) -> None:
    as_it_is = requests.get(f"{served.address}/sounds/1", timeout=10)
    assert as_it_is.headers["Content-Type"] == "audio/ogg"
    assert as_it_is.content == served.audit.findings[1].clip.path.read_bytes()
    made = requests.get(f"{served.address}/sounds/2", timeout=10)
    assert made.headers["Content-Type"] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(made.content))
    expected, _ = soundfile.read(served.audit.findings[2].clip.path)
    assert rate == 16_000
    np.testing.assert_allclose(samples, expected, atol=2**-15)


def test_a_player_may_ask_for_a_part(served: Served) -> None:
    part = requests.get(f"{served.address}/sounds/0", headers={"Range": "bytes=100-199"}, timeout=10)
    assert part.status_code == 206
    assert part.content == served.audit.findings[0].clip.path.read_bytes()[100:200]


def test_pictures_are_spectrograms(served: Served) -> None:
    picture = Image.open(io.BytesIO(requests.get(f"{served.address}/pictures/0.png", timeout=10).content))
    levels = np.asarray(picture.convert("L"), dtype=float)
    assert levels.shape[0] == 64
    brightest = levels.mean(axis=1).argmax()
    assert brightest > 40  # 500 Hz, near the bottom


@pytest.mark.parametrize("what", ["sounds/3", "pictures/3.png"])
def test_there_is_no_fourth_clip(served: Served, what: str) -> None:
    answer = requests.get(f"{served.address}/{what}", timeout=10)
    assert (answer.status_code, answer.json()["detail"]) == (404, "no clip 3; there are 3")


def test_a_recording_that_is_gone_is_named(served: Served) -> None:
    served.audit.findings[0].clip.path.unlink()
    answer = requests.get(f"{served.address}/sounds/0", timeout=10)
    assert answer.status_code == 404
    assert "bark.wav" in answer.json()["detail"]


def test_a_decision_is_saved_before_the_answer(served: Served) -> None:
    answer = decide(served, "bark.wav", "relabel", "Meow")
    assert answer.status_code == 200
    assert answer.json()["decisions"]["bark.wav"]["revision"] == 1
    assert read_corrections(served.corrections) == (Correction("bark.wav", "relabel", ("Meow",), "listened to"),)
    table = requests.get(f"{served.address}/corrections.csv", timeout=10)
    assert table.text == served.corrections.read_text()


def test_an_outdated_decision_is_refused_with_what_counts(served: Served) -> None:
    decide(served, "bark.wav", "keep")
    answer = decide(served, "bark.wav", "drop")
    assert answer.status_code == 409
    assert "has been decided on elsewhere since" in answer.json()["error"]
    assert answer.json()["decisions"]["bark.wav"]["action"] == "keep"
    assert decide(served, "bark.wav", "drop", seen=1).status_code == 200


def test_after_an_edit_by_hand_the_page_can_go_on(served: Served) -> None:
    decide(served, "bark.wav", "keep")
    write_corrections(served.corrections, [Correction("bark.wav", "drop")])
    refused = decide(served, "two.ogg", "keep")
    assert refused.status_code == 409
    assert refused.json()["decisions"]["bark.wav"]["action"] == "drop"
    assert decide(served, "two.ogg", "keep", seen=refused.json()["undecided"]).status_code == 200


@pytest.mark.parametrize(
    ("fname", "action", "labels", "message"),
    [
        ("bark.wv", "keep", (), "clip 'bark.wv' is not in the audit; did you mean 'bark.wav'?"),
        ("bark.wav", "relabel", ("Barc",), "did you mean 'Bark'?"),
        ("bark.wav", "relabel", (), "is to be relabelled, but no labels are given"),
        ("bark.wav", "keep", ("Bark",), "has labels, but the action 'keep'"),
    ],
)
def test_decisions_that_cannot_be(
    served: Served, fname: str, action: str, labels: tuple[str, ...], message: str
) -> None:
    answer = decide(served, fname, action, *labels)
    assert answer.status_code == 422
    assert message in answer.json()["error"]
    assert not served.corrections.exists()


def test_a_disk_that_is_full_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device", "corrections.csv")

    with monkeypatch.context() as patched:
        patched.setattr(served.decisions, "_write", full)
        answer = decide(served, "bark.wav", "keep")
    assert (answer.status_code, answer.json()["error"]) == (507, "corrections.csv: No space left on device")
    assert decide(served, "bark.wav", "keep").status_code == 200


def test_foreign_names_and_forms_are_refused(served: Served) -> None:
    other = requests.get(served.address, headers={"Host": "evil.example"}, timeout=10)
    assert other.status_code == 400
    # what another site's form can send without being asked first
    content = json.dumps({"fname": "bark.wav", "seen": 0, "action": "drop"})
    form = requests.post(
        f"{served.address}/decisions", data=content, headers={"Content-Type": "text/plain"}, timeout=10
    )
    assert form.status_code == 422
    assert not served.corrections.exists()


def test_a_server_that_is_started_again_knows_it_all(start: Callable[..., Served]) -> None:
    decide(start(), "bark.wav", "drop")
    start.stop()  # type: ignore[attr-defined]
    again = start()
    state = requests.get(f"{again.address}/decisions", timeout=10).json()
    assert (state["revision"], state["decisions"]["bark.wav"]["action"]) == (1, "drop")


def test_a_port_that_is_taken(served: Served, start: Callable[..., Served], tmp_path: Path) -> None:
    from earmark.serving.audit import serve

    port = int(served.address.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=r"Address already in use|in use"):
        serve(None, "127.0.0.1", port, print)  # type: ignore[arg-type]
