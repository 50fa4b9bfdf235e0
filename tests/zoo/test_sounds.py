"""Sounds by name and wav files, against the standard library's own reader and what the recordings are known to be."""

import os
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.companding import mu_law_decode, mu_law_encode
from zoo.datasets import Missing, sounds
from zoo.datasets.sounds import read_wav, write_wav


def write_clip(path: Path, samples: np.ndarray, rate: int = 8000, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clips whose every sample is their label, 3 or 6,000 samples long."""
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    folder = tmp_path / "spoken_digits"
    folder.mkdir()
    for name, offset in (("ann", 0), ("bob", 10)):
        for digit in (0, 7):
            for index in (4, 5, 12):
                long = 6000 if index == 5 else 3
                write_clip(folder / f"{digit}_{name}_{index}.wav", np.full(long, 100 * (offset + digit + 1)))
    (folder / "notes.wav").write_text("of another name: left alone")
    return folder


def test_a_waveform_comes_back_from_a_wav_file_within_a_step(tmp_path: Path) -> None:
    waveform = torch.sin(torch.arange(500) / 7.0)
    write_wav(tmp_path / "tone.wav", waveform, 11_025)
    found, rate = read_wav(tmp_path / "tone.wav")
    assert rate == 11_025 and found.dtype == torch.float32 and (found - waveform).abs().max() < 1 / 16_384
    with wave.open(str(tmp_path / "tone.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getnframes()) == (1, 2, 500)
    assert os.listdir(tmp_path) == ["tone.wav"]


def test_what_is_no_waveform_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "kept.wav"
    write_wav(path, torch.tensor([1.0, -1.0]))
    before = path.read_bytes()
    for wrong, message in (
        (torch.tensor([0.0, 1.5]), "between -1 and 1, and this one does not"),
        (torch.tensor([torch.nan]), "between -1 and 1, and this one does not"),
        (torch.zeros(2, 3), r"is \[T\], but this one is \[2, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            write_wav(path, wrong)
    with pytest.raises(ValueError, match="rate must be at least 1"):
        write_wav(path, torch.zeros(3), 0)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["kept.wav"]


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("RIFFling through the papers")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name in ("text", "empty"):
        with pytest.raises(ValueError, match=rf"{name}.wav is not a wav file"):
            read_wav(tmp_path / f"{name}.wav")
    write_clip(tmp_path / "stereo.wav", np.zeros(8), channels=2)
    with pytest.raises(ValueError, match=r"stereo.wav has 2 channels of 16 bits, but 1 channel of 16 bits is read"):
        read_wav(tmp_path / "stereo.wav")


def test_spoken_digits_are_split_by_the_recordings_index(recordings: Path) -> None:
    data = datasets.load("spoken_digits")
    assert (len(data.train), len(data.test), list(data.event_shape)) == (8, 4, [4096])
    assert data.train.y.tolist() == [0, 7, 10, 17, 0, 7, 10, 17] and data.test.y.tolist() == [0, 7, 10, 17]
    assert data.class_names is not None and data.class_names[17] == "7 by bob" and data.levels == 256
    levels = mu_law_encode(100 * (1 + data.train.y) / 32768)
    assert torch.equal(data.train.x[:4].long(), levels[:4, None].expand(4, 4096))  # index 5, cut
    assert torch.equal(data.train.x[4:, :3].long(), levels[4:, None].expand(4, 3))  # index 12, filled up
    assert (data.train.x[4:, 3:] == 128).all() and (data.test.x[:, 3:] == 128).all()
    assert sounds.spoken_digits(5).event_shape == (5,)
    write_clip(recordings / "0_ann_9.wav", np.zeros(3), rate=16_000)
    with pytest.raises(ValueError, match=r"0_ann_9.wav of spoken_digits has 16000 samples a second, not 8000"):
        datasets.load("spoken_digits")


def test_without_recordings_the_sentence_names_zoo_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    with pytest.raises(
        Missing, match=r"no recordings of spoken_digits are in .* \(ZOO_DATA\): set ZOO_DATA to a folder"
    ):
        datasets.load("spoken_digits")
    monkeypatch.delenv("ZOO_DATA")
    with pytest.raises(Missing, match=r"are at hand \(ZOO_DATA is not set\): set ZOO_DATA to a folder"):
        datasets.load("spoken_digits")


def test_spoken_digits_as_published() -> None:
    root = os.environ.get("ZOO_DATA")
    if not root or not Path(root, "spoken_digits", "0_jackson_0.wav").is_file():
        pytest.skip("ZOO_DATA has no spoken_digits/0_jackson_0.wav")
    data = datasets.load("spoken_digits")
    speakers = len(data.class_names or ()) // 10
    assert len(data.test) == 50 * speakers and len(data.train) == 450 * speakers
    assert torch.equal(data.test.y.bincount(), torch.full((10 * speakers,), 5))
    waveform, _ = read_wav(Path(root, "spoken_digits", "0_jackson_0.wav"))
    row = mu_law_decode(data.test.x[0])
    kept = min(len(waveform), 4096)
    assert torch.allclose(row[:kept], waveform[:kept], rtol=0.023, atol=1e-4)  # half a step of mu-law


@pytest.mark.parametrize("vowel", range(5))
def test_a_synthetic_vowel_resounds_at_its_formants(vowel: int) -> None:
    data = datasets.load("synthetic_voice")
    waveform = mu_law_decode(data.train.x[data.train.y == vowel]).double()
    power = torch.fft.rfft(waveform * torch.hann_window(1024, dtype=torch.float64)).abs().square()
    spectrum = (power / power.sum(-1, keepdim=True)).mean(0)
    hertz = torch.fft.rfftfreq(1024, 1 / 8000)
    first, second, _ = sounds.VOWELS[data.class_names[vowel]]

    def near(formant: int) -> float:
        return float(spectrum[(hertz / formant - 1).abs() < 0.15].mean())

    between = (hertz > 1.2 * first) & (hertz < 0.85 * second)
    assert near(first) > 20 * float(spectrum[hertz > 3300].mean())
    if between.sum() > 20:
        assert near(first) > 2 * float(spectrum[between].mean()) and near(second) > float(spectrum[between].min())
