# %% [markdown]
# # A voice in 8 kHz
#
# Sound is a long row of numbers. WaveNet models it number by number: the distribution of each sample given those
# before it, from convolutions that reach further back layer by layer. Its likelihood is exact, so it can be held
# against simpler models in one unit, bits a sample.
#
# The data here are vowels from a small formant synthesiser, made on the spot: a toy that trains in seconds. Where
# `ZOO_DATA` names a folder with the Free Spoken Digit Dataset, set `name` to `"spoken_digits"`: people saying the
# digits, for minutes of training. Everything below stays as it is.

# %%
import math
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import zoo
from inference import fit
from inference.schedules import cosine
from zoo import MarkovChain, WaveNet, mu_law_decode, mu_law_encode
from zoo.datasets.sounds import RATE, write_wav

name = "synthetic_voice"
settings = {
    "synthetic_voice": {"blocks": 1, "layers": 7, "channels": 24, "skip": 48, "steps": 250, "batch": 4},
    "spoken_digits": {"blocks": 2, "layers": 8, "channels": 32, "skip": 64, "steps": 1000, "batch": 2},
}[name]
data = zoo.datasets.load(name)
folder = Path(tempfile.mkdtemp())
print(data)

# %% [markdown]
# A sample is one of 256 levels on the mu-law scale, which is fine where the sound is quiet and coarse where it is
# loud. Decoding and encoding gives every code back.

# %%
waveforms = mu_law_decode(data.train.x)
assert torch.equal(mu_law_encode(waveforms), data.train.x.long())
print(f"{len(waveforms)} clips of {data.event_shape[0] / RATE:.3f} s:", ", ".join(data.class_names))

# %% [markdown]
# ## What simple models make of it
#
# The uniform distribution costs 8 bits a sample. A Markov chain of order 2 counts what follows two samples. Linear
# prediction, the workhorse of telephony, foretells the waveform as a weighted sum of the last 16 samples; the error
# is taken for Gaussian, and its mass in the cell of each level compared (with a hundredth of the uniform
# distribution mixed in, for the outliers).

# %%
test = data.test.x.long()


def bits(log_prob):
    """Bits a sample, from nats a row."""
    return -float(log_prob.sum()) / (test.numel() * math.log(2))


def linear_prediction(train, test, order=16):
    """log P of the levels of each row, [N]."""

    def pairs(codes):
        padded = F.pad(mu_law_decode(codes, dtype=torch.float64), (order, 0))
        seen = padded.unfold(1, order + 1, 1)
        return seen[..., :-1].reshape(-1, order), seen[..., -1].flatten()

    past, now = pairs(train)
    weights = torch.linalg.solve(past.mT @ past + 1e-6 * torch.eye(order), past.mT @ now)
    deviation = (now - past @ weights).std()
    edges = mu_law_decode(torch.arange(255) + 0.5, dtype=torch.float64)
    edges = torch.cat([torch.tensor([-torch.inf]), edges, torch.tensor([torch.inf])])
    mean = (pairs(test)[0] @ weights).view(test.shape)
    upper, lower = (torch.special.ndtr((edges[test + up] - mean) / deviation) for up in (1, 0))
    return (0.99 * (upper - lower) + 0.01 / 256).log().sum(-1)


chain = MarkovChain(data.event_shape, levels=256, order=2)
chain.count(data.train.x.long())
board = {
    "uniform": 8.0,
    "Markov chain of order 2": bits(chain.log_prob(test)),
    "linear prediction, order 16": bits(linear_prediction(data.train.x.long(), test)),
}

# %% [markdown]
# ## WaveNet
#
# Seven layers whose dilation doubles from 1 see 128 samples, 16 ms: more than a period of the voice. The label, one
# out of so many, is the context; it is added in every gate.

# %%
labels = len(data.class_names)
contexts = {split: F.one_hot(rows.y, labels).float() for split, rows in data.splits.items()}
torch.manual_seed(0)
network = {key: settings[key] for key in ("blocks", "layers", "channels", "skip")}
model = WaveNet(data.event_shape, context_shape=labels, **network)
print(f"a sample is drawn given the {model.receptive_field} before it")
result = fit(
    model,
    {"x": data.train.x, "context": contexts["train"]},
    steps=settings["steps"],
    batch_size=settings["batch"],
    lr=5e-3 if name == "synthetic_voice" else 3e-3,
    schedule=cosine(settings["steps"]),
    clip=1.0,
)
print(result)

# %%
with torch.no_grad():
    parts = zip(data.test.x.split(10), contexts["test"].split(10), strict=True)
    board["WaveNet"] = bits(torch.cat([model.log_prob(x, context=context) for x, context in parts]))
for who, figure in board.items():
    print(f"{who:28} {figure:.3f} bits a sample held out")
assert board["WaveNet"] < min(figure for who, figure in board.items() if who != "WaveNet")

# %% [markdown]
# ## A new voice
#
# One clip of each label. `sample` keeps what the layers will read again, so that a new sample costs one step through
# the network and not a pass over all that was said. `temperature` below 1 makes it a little clearer. After so short
# a training the vowels' lowest resonances are where they should be; the pitch still wanders and the breath is rough.

# %%
told = torch.eye(labels)[:5]
torch.manual_seed(1)
spoken = mu_law_decode(model.sample(len(told), context=told, temperature=0.9))
write_wav(folder / "new.wav", spoken.flatten())
print("to listen to:", folder / "new.wav")

# %%
figure, axes = plt.subplots(len(told), 3, figsize=(12, 9), layout="constrained", width_ratios=(2, 1, 1))
for row, (waves, spectrum, drawn) in enumerate(axes):
    real = waveforms[data.train.y == row][0]
    waves.plot(real[:512], color="0.6", label="data")
    waves.plot(spoken[row, :512] - 1, color="tab:blue", label="drawn")
    waves.set(ylabel=data.class_names[row], yticks=[])
    for axis, sound, title in ((spectrum, real, "data"), (drawn, spoken[row], "drawn")):
        noise = 1e-4 * torch.randn(len(sound), generator=torch.Generator().manual_seed(0))  # no log of zero
        axis.specgram((sound + noise).numpy(), NFFT=128, noverlap=112, Fs=RATE, vmin=-120, vmax=-20)
        axis.set(yticks=[0, 2000, 4000], title=title if row == 0 else "")
axes[0, 0].legend(loc="upper right")
figure.savefig(folder / "voice.png", dpi=80)

# %% [markdown]
# ## Going on
#
# The first half of a held-out clip, and three ways to go on that the model finds likely. The beginning may have any
# length; the layers run over it at once.

# %%
half = data.event_shape[0] // 2
begun = data.test.x[:1, :half].expand(3, -1)
rest = model.continue_from(begun, half, context=contexts["test"][:1], temperature=0.9)
figure, axes = plt.subplots(4, figsize=(10, 7), sharex=True, layout="constrained")
clip = slice(half - 256, half + 256)
for axis, codes, title in zip(
    axes, [data.test.x[0], *torch.cat([begun, rest], 1)], ["as it was", "gone on", "gone on", "gone on"], strict=True
):
    axis.plot(range(clip.start, clip.stop), mu_law_decode(codes)[clip], lw=1)
    axis.axvline(half, color="tab:red")
    axis.set_title(title, loc="left", fontsize=9)
figure.savefig(folder / "going_on.png", dpi=80)
write_wav(folder / "going_on.wav", mu_law_decode(torch.cat([begun, rest], 1)).flatten())
print("pictures and sound are in", folder)
