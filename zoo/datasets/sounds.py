"""Sounds at 8 kHz: waveforms as 256 mu-law levels, and wav files.

`mu_law_decode(data.train.x)` is the waveform again, in [-1, 1].
"""

from __future__ import annotations

import os
import re
import wave
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor

from zoo.companding import mu_law_encode
from zoo.datasets.data import Data, Split
from zoo.datasets.files import Missing

RATE, LEVELS = 8000, 256
DESCRIPTIONS = {
    "synthetic_voice": "five vowels by a formant synthesiser, 0.128 s at 8 kHz, 256 mu-law levels (a toy, made here)",
    "spoken_digits": "people saying the digits, cut to 0.512 s at 8 kHz, 256 mu-law levels (ZOO_DATA)",
}

# ---- wav files


def read_wav(path: str | Path) -> tuple[Tensor, int]:
    """The waveform of a mono wav file of 16 bits, [T] in [-1, 1), and its samples a second."""
    try:
        with wave.open(str(path), "rb") as file:
            kind = file.getnchannels(), file.getsampwidth()
            rate, frames = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a wav file: {error or 'it ends too early'}") from None
    if kind != (1, 2):
        raise ValueError(f"{path} has {kind[0]} channels of {8 * kind[1]} bits, but 1 channel of 16 bits is read")
    return torch.from_numpy(np.frombuffer(frames[: len(frames) // 2 * 2], "<i2") / np.float32(32768)), rate


def write_wav(path: str | Path, waveform: Tensor, rate: int = RATE) -> None:
    """Write a waveform, [T] in [-1, 1], as a mono wav file of 16 bits, whole or not at all."""
    if waveform.dim() != 1:
        raise ValueError(f"a waveform is [T], but this one is {list(waveform.shape)}")
    if not bool((waveform.abs() <= 1).all()):
        raise ValueError("a waveform lies between -1 and 1, and this one does not")
    if rate < 1:
        raise ValueError(f"rate must be at least 1 sample a second, not {rate}")
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    samples = (waveform.detach().cpu().double() * 32767).round().numpy().astype("<i2")
    try:
        with wave.open(str(beside), "wb") as file:
            file.setparams((1, 2, rate, len(samples), "NONE", "not compressed"))
            file.writeframes(samples.tobytes())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# ---- data


def _data(name: str, train: Split, test: Split, classes: tuple[str, ...]) -> Data:
    top = LEVELS - 1
    return Data(name, DESCRIPTIONS[name], train, test, levels=LEVELS, value_range=(0, top), class_names=classes)


def spoken_digits(length: int = 4096) -> Data:
    """The Free Spoken Digit Dataset, each clip cut to `length` samples or filled up with silence at its end.

    A row's label is digit + 10 * speaker, speakers in the order of their names. Recordings 0 to 4 of each digit
    and speaker are the test split, as the data set has it.
    """
    folder = Path(os.environ.get("ZOO_DATA") or "", "spoken_digits")
    named = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
    found = [match for path in folder.glob("*.wav") if (match := named.fullmatch(path.name))]
    if not os.environ.get("ZOO_DATA") or not found:
        where = f"in {folder} (ZOO_DATA)" if os.environ.get("ZOO_DATA") else "at hand (ZOO_DATA is not set)"
        raise Missing(
            f"no recordings of spoken_digits are {where}: set ZOO_DATA to a folder that holds "
            "spoken_digits/0_jackson_0.wav and the others of github.com/Jakobovski/free-spoken-digit-dataset"
        )
    speakers = sorted({match[2] for match in found})
    clips = sorted((int(match[3]), speakers.index(match[2]), int(match[1]), match[0]) for match in found)
    x, y = torch.zeros(len(clips), length), torch.empty(len(clips), dtype=torch.long)
    for row, (_, speaker, digit, file) in enumerate(clips):
        waveform, rate = read_wav(folder / file)
        if rate != RATE:
            raise ValueError(f"{file} of spoken_digits has {rate} samples a second, not {RATE}")
        x[row, : len(waveform)] = waveform[:length]
        y[row] = digit + 10 * speaker
    codes, test = mu_law_encode(x).to(torch.uint8), torch.tensor([clip[0] < 5 for clip in clips])
    classes = tuple(f"{digit} by {speaker}" for speaker in speakers for digit in range(10))
    return _data("spoken_digits", Split(codes[~test], y[~test]), Split(codes[test], y[test]), classes)


VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
"""The first three formants in Hz, as Peterson and Barney (1952) measured them in men."""
BANDWIDTHS = (60, 90, 150)
TRAIN, TEST, LENGTH = 400, 100, 1024


def synthetic_voice(seed: int = 0) -> Data:
    """Vowels, labelled, from pulses and breath through three resonators: a voice as a model of speech has it.

    Pitch (90 to 220 Hz, gliding by up to a fifth), size of the vocal tract, loudness and breath differ from row to
    row; train rows are drawn by the seed 2 * seed, test rows by 2 * seed + 1.
    """

    def split(rows: int, by: int) -> Split:
        random = np.random.default_rng(by)
        vowels = np.arange(rows) % len(VOWELS)
        clips = np.stack([_vowel(list(VOWELS.values())[vowel], random) for vowel in vowels])
        return Split(mu_law_encode(torch.from_numpy(clips)).to(torch.uint8), torch.from_numpy(vowels))

    return _data("synthetic_voice", split(TRAIN, 2 * seed), split(TEST, 2 * seed + 1), tuple(VOWELS))


def _vowel(formants: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """One clip, [LENGTH], its first half second or so of ringing in left out."""
    steps = LENGTH + 400
    glide = 1 + np.linspace(0, random.uniform(-0.2, 0.2), steps)
    phase = (random.uniform() + np.cumsum(random.uniform(90, 220) * glide / RATE)) % 1
    opened = np.clip(phase / 0.6, 0, 1)
    flow = opened**2 * (1 - opened)  # of air through the glottis, closed for four tenths of a period
    sound = np.diff(flow, prepend=0) + random.uniform(0.001, 0.004) * random.standard_normal(steps)
    tract = random.uniform(0.92, 1.12)
    for formant, bandwidth in zip(formants, BANDWIDTHS, strict=True):
        radius, angle = np.exp(-np.pi * bandwidth / RATE), 2 * np.pi * formant * tract / RATE
        sound = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], sound)
    sound = sound[-LENGTH:]
    return sound * random.uniform(0.1, 0.9) / np.abs(sound).max()
