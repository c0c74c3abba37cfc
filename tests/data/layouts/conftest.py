"""Tiny generated collections in every layout, with the files and columns of the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from earmark.data.layouts import read_collection
from earmark.errors import CollectionError, LabelError

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, write_tone: Callable[..., Path]) -> Make:
    """Write a collection: `make("name", {"meta/a.csv": ["fname,label", …]}, ["audio/a.wav", …])` gives its folder."""

    def write(name: str, texts: Mapping[str, str | Sequence[str]], audio: Sequence[str] = ()) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text if isinstance(text, str) else "".join(f"{line}\n" for line in text))
        for file in audio:
            write_tone(f"{name}/{file}", duration_s=0.01, sample_rate=8000)
        return folder

    return write


@pytest.fixture
def error_of() -> Callable[..., str]:
    """The text of the error that reading a collection raises: `error_of(folder, layout="table")`."""

    def text(folder: Path, **how: object) -> str:
        with pytest.raises((CollectionError, LabelError)) as caught:
            read_collection(folder, **how)
        return str(caught.value)

    return text


@pytest.fixture
def rewrite() -> Callable[[Path, str, str], None]:
    """Replace a text in a file once: `rewrite(path, "old", "new")`."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return replace


@pytest.fixture
def urbansound8k_folder(make: Make) -> Path:
    """Four slices of three recordings in two folds; class numbers against the alphabet."""
    rows = [
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
        "100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing",
        "100263-2-0-121.wav,100263,60.5,64.5,1,5,2,children_playing",
        "102305-6-0-0.wav,102305,0.0,2.611610,1,10,6,gun_shot",
    ]
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class"
    audio = [f"audio/fold{row.split(',')[5]}/{row.split(',')[0]}" for row in rows]
    return make("UrbanSound8K", {"metadata/UrbanSound8K.csv": [header, *rows]}, audio)


@pytest.fixture
def zenodo2019_folder(make: Make) -> Path:
    """FSDKaggle2019 as on Zenodo: two curated clips, one noisy one, and two test clips with labels."""
    cc0, by = "http://creativecommons.org/publicdomain/zero/1.0/", "http://creativecommons.org/licenses/by/3.0/"
    meta = "FSDKaggle2019.meta"
    texts = {
        f"{meta}/train_curated_post_competition.csv": [
            "fname,labels,freesound_id,license",
            f"0006ae4e.wav,Bark,55555,{cc0}",
            f'0019ef41.wav,"Raindrop,Bark",66666,{by}',
        ],
        f"{meta}/train_noisy_post_competition.csv": [
            "fname,labels,flickr_video_URL,license",
            "00097e21.wav,Bathtub_(filling_or_washing),https://www.flickr.com/video/1,CC BY-SA 2.0",
        ],
        f"{meta}/test_post_competition.csv": [
            "fname,labels,usage,freesound_id,license",
            f"4260ebea.wav,Bark,Private,77777,{by}",
            f'4a1d5f2b.wav,"Bark,Raindrop",Public,88888,{cc0}',
        ],
        f"{meta}/vocabulary.csv": ["Raindrop", "Bark", "Bathtub_(filling_or_washing)"],
        "FSDKaggle2019.doc/README.md": ["# Freesound Dataset Kaggle 2019"],
    }
    audio = [
        "FSDKaggle2019.audio_train_curated/0006ae4e.wav",
        "FSDKaggle2019.audio_train_curated/0019ef41.wav",
        "FSDKaggle2019.audio_train_noisy/00097e21.wav",
        "FSDKaggle2019.audio_test/4260ebea.wav",
        "FSDKaggle2019.audio_test/4a1d5f2b.wav",
    ]
    return make("FSDKaggle2019", texts, audio)


@pytest.fixture
def kaggle2018_folder(make: Make) -> Path:
    """FSDKaggle2018 as on Kaggle: two labels that people checked, one that none did, two test clips."""
    train = ["00044347.wav,Hi-hat,0", "001ca53d.wav,Saxophone,1", "002d256b.wav,Trumpet,1"]
    tests = ["00063640.wav", "0013a1db.wav"]
    texts = {
        "train.csv": ["fname,label,manually_verified", *train],
        "sample_submission.csv": ["fname,label", *(f"{name},Laughter Hi-Hat Flute" for name in tests)],
    }
    audio = [f"audio_train/{row.split(',')[0]}" for row in train] + [f"audio_test/{name}" for name in tests]
    return make("freesound-audio-tagging", texts, audio)


@pytest.fixture
def zenodo2018_folder(make: Make) -> Path:
    """FSDKaggle2018 as on Zenodo: one checked clip, one that is not, one test clip with its label."""
    meta = "FSDKaggle2018.meta"
    texts = {
        f"{meta}/train_post_competition.csv": [
            "fname,label,manually_verified,freesound_id,license",
            "00044347.wav,Hi-hat,0,28739,Attribution",
            "001ca53d.wav,Saxophone,1,358827,Attribution",
        ],
        f"{meta}/test_post_competition_scoring_clips.csv": [
            "fname,label,usage,freesound_id,license",
            "00326aa9.wav,Saxophone,Private,355125,Creative Commons 0",
        ],
    }
    audio = [
        "FSDKaggle2018.audio_train/00044347.wav",
        "FSDKaggle2018.audio_train/001ca53d.wav",
        "FSDKaggle2018.audio_test/00326aa9.wav",
    ]
    return make("FSDKaggle2018", texts, audio)


FSD50K_TABLES = {
    "vocabulary.csv": ["0,Purr,/m/02yds9", "1,Cat,/m/01yrx", "2,Bark,/m/05tny_"],
    "dev.csv": [
        "fname,labels,mids,split",
        '64760,"Purr,Cat","/m/02yds9,/m/01yrx",train',
        "16399,Bark,/m/05tny_,val",
        "16401,Bark,/m/05tny_,train",
        "16402,Cat,/m/01yrx,train",
    ],
    "eval.csv": ["fname,labels,mids", "37199,Bark,/m/05tny_"],
}

FSD50K_INFO = {
    "dev": {"64760": "mara", "16399": "noel", "16401": "odo", "16402": "noel"},
    "eval": {"37199": "pia"},
}


def fsd50k_info(part: str) -> str:
    """Text of `dev_clips_info_FSD50K.json` or its sibling."""
    said = {
        name: {
            "title": f"{name}.aiff",
            "description": "A sound.",
            "tags": ["animal"],
            "license": "http://creativecommons.org/licenses/by/3.0/",
            "uploader": uploader,
        }
        for name, uploader in FSD50K_INFO[part].items()
    }
    return json.dumps(said)


@pytest.fixture
def fsd50k_folder(make: Make) -> Path:
    """FSD50K as on Zenodo: three clips to learn, one to validate by, one to test; `noel` is on both sides of dev."""
    texts: dict[str, str | Sequence[str]] = {
        f"FSD50K.ground_truth/{name}": FSD50K_TABLES[name] for name in FSD50K_TABLES
    }
    texts |= {f"FSD50K.metadata/{part}_clips_info_FSD50K.json": fsd50k_info(part) for part in ("dev", "eval")}
    audio = [f"FSD50K.dev_audio/{name}.wav" for name in FSD50K_INFO["dev"]]
    return make("FSD50K", texts, [*audio, "FSD50K.eval_audio/37199.wav"])


@pytest.fixture
def fsd50k_hub_folder(make: Make) -> Path:
    """The same as its mirror on the Hugging Face Hub lies, without metadata."""
    texts = {f"labels/{name}": FSD50K_TABLES[name] for name in FSD50K_TABLES}
    return make("FSD50k", texts, [*(f"clips/dev/{name}.wav" for name in FSD50K_INFO["dev"]), "clips/eval/37199.wav"])


@pytest.fixture
def label_folders(make: Make) -> Path:
    """Three clips in two folders of labels, one of them deeper; with files that are no recordings."""
    audio = ["Bark/a.wav", "Bark/yard/b 2.wav", "Müll/a.wav"]
    texts = {"README.md": ["Mine."], "Bark/notes.txt": [""], "Bark/.hidden.wav": [""], ".cache/x/a.wav": [""]}
    return make("sorted", texts, audio)
