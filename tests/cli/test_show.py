from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from earmark.cli.show import show
from earmark.errors import LabelError, RecipeError, RunError

PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(show, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize("options", [[], ["--recipe", "small-colour"], ["--bare"], ["--set", "picture.channels=grey"]])
def test_show_writes_a_png(options: list[str], write_tone: Callable[..., Path], tmp_path: Path) -> None:
    result = run(write_tone(), *options, "-o", tmp_path / "picture.png")
    assert result.exit_code == 0
    assert (tmp_path / "picture.png").read_bytes()[:8] == PNG


def test_bare_image_has_the_size_of_the_recipes_picture(write_tone: Callable[..., Path], tmp_path: Path) -> None:
    from matplotlib.image import imread

    run(write_tone(duration_s=1.0), "--bare", "-o", tmp_path / "picture.png", "--recipe", "small-grey")
    assert imread(tmp_path / "picture.png").shape[:2] == (128, 44_100 // 694 + 1)


def test_bundle_says_which_picture_its_network_sees(
    tiny_bundle: Path, write_tone: Callable[..., Path], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    from earmark.tagging.tagger import load

    spec = load(tiny_bundle).picture_spec
    run(write_tone(), "--bare", "--model", tiny_bundle, "-o", tmp_path / "picture.png")
    assert imread(tmp_path / "picture.png").shape[0] == spec.height


def test_bad_file_is_named_and_the_rest_drawn(write_tone: Callable[..., Path], tmp_path: Path) -> None:
    result = run(write_tone(), tmp_path / "nope.wav", "-o", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert "nope.wav: no such file" in result.stderr
    assert "1 of 2 could not be drawn" in result.stderr
    assert (tmp_path / "sheet.png").is_file()


def test_nothing_is_written_when_nothing_can_be_drawn(tmp_path: Path) -> None:
    assert run(tmp_path / "nope.wav", "-o", tmp_path / "sheet.png").exit_code == 1
    assert not (tmp_path / "sheet.png").exists()


def test_bare_draws_one_file_alone(write_tone: Callable[..., Path], tmp_path: Path) -> None:
    result = run(write_tone("a.wav"), write_tone("b.wav"), "--bare", "-o", tmp_path / "sheet.png")
    assert result.exit_code == 2
    assert "--bare draws one file; got 2; name one, or leave --bare out for a sheet" in result.stderr


def test_wrong_setting_is_explained(write_tone: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'n_mels'"):
        run(write_tone(), "--set", "picture.log_mel.n_mel=3", "-o", tmp_path / "picture.png")


def test_explain_marks_what_made_a_tag(tiny_bundle: Path, write_tone: Callable[..., Path], tmp_path: Path) -> None:
    result = run(write_tone(duration_s=0.3), "--explain", tiny_bundle, "--label", "low", "-o", tmp_path / "why.png")
    assert result.exit_code == 0
    assert result.stdout.startswith("low 0.")
    assert result.stdout.endswith(f"by occlusion: {tmp_path / 'why.png'}\n")
    assert (tmp_path / "why.png").read_bytes()[:8] == PNG


def test_explain_takes_the_best_label_and_a_name_of_its_own(
    tiny_bundle: Path, write_tone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(write_tone("tone.wav", frequency_hz=5000), "--explain", tiny_bundle, "--start", "0.1", "--end", "0.4")
    assert result.stdout.endswith("by occlusion: tone-high.png\n")
    assert (tmp_path / "tone-high.png").is_file()


def test_an_unknown_label_is_named_before_all_the_work(
    tiny_bundle: Path, write_tone: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match="did you mean 'high'"):
        run(write_tone(), "--explain", tiny_bundle, "--label", "hihg", "-o", tmp_path / "why.png")


def test_grad_cam_of_a_bundle_is_refused(tiny_bundle: Path, write_tone: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Grad-CAM needs a network in torch's form; give the run's folder, or --method"):
        run(write_tone(), "--explain", tiny_bundle, "--method", "grad-cam", "-o", tmp_path / "why.png")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "low", "-o", "a.png"], "--label, --method, --start and --end go with --explain MODEL"),
        ([], "there is no name for the picture; give it with -o picture.png"),
    ],
)
def test_wrong_calls_are_explained(arguments: list[str], said: str, write_tone: Callable[..., Path]) -> None:
    result = run(write_tone(), *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_explain_takes_one_file(tiny_bundle: Path, write_tone: Callable[..., Path]) -> None:
    result = run(write_tone("a.wav"), write_tone("b.wav"), "--explain", tiny_bundle)
    assert result.exit_code == 2
    assert "--explain draws one file; got" in result.stderr
