# %% [markdown]
# # Text, from a chain to a Transformer
#
# Python's own help on its language: 465,000 characters of 103 kinds, the last tenth held out. Every model below gives
# exact probabilities to texts, so all of them stand on one scoreboard, in bits per character: how long the held-out
# text would be if the model packed it.

# %%
import math
import time
from functools import partial

import torch

import zoo
from inference import em, fit
from inference.schedules import cosine
from inference.settings import adamw
from zoo.datasets import Windows

data = zoo.datasets.load("pydoc_topics")
train, test, levels = data.train.x, data.test.x, data.levels
print(data.text(train[:300]))
scores = {"uniform": (math.log2(levels), 0.0)}


def bits(log_prob: torch.Tensor) -> float:
    return -float(log_prob.double().mean()) / math.log(2)


# %% [markdown]
# ## Chains
#
# A Markov chain of order n looks at the n characters before. It is fitted by one count of the text, its gaps filled
# from shorter memories (Kneser-Ney), in well under a second. Order 0 knows only how common each character is.

# %%
chains = {}
for order, name in ((0, "characters alone"), (2, "3-grams"), (4, "5-grams")):
    start = time.process_time()
    chain = zoo.MarkovChain(len(train), levels=levels, order=order)
    em(chain, train[None], steps=1, progress=False)
    scores[name] = bits(chain.step_log_prob(test[None])), time.process_time() - start
    chains[name] = chain

torch.manual_seed(0)
for name, chain in chains.items():
    print(f"--- {name}: {scores[name][0]:.2f} bits\n{data.text(chain.continue_from(train[None, :100], 200))}\n")

# %% [markdown]
# ## A Transformer
#
# `Transformer` has no fixed memory: each character may look at all those before it in its window, and learns where to
# look. A row begins with a symbol of its own, so that its likelihood is that of the whole row; given more than a row,
# the figure that counts is that of characters which have something before them.
#
# It is fitted by gradients, on windows cut anywhere from the text, by AdamW with a warm start and a long cool end.

# %%
WINDOW, STEPS = 33, 200
torch.manual_seed(0)
gpt = zoo.Transformer(WINDOW, levels=levels, layers=2, heads=4, width=64)
start = time.process_time()
fit(
    gpt,
    Windows(train, WINDOW),
    steps=STEPS,
    batch_size=32,
    lr=5e-3,
    optimizer=partial(adamw, weight_decay=0.1),
    schedule=cosine(STEPS, final=0.1, warmup=STEPS // 10),
    clip=float(WINDOW),
)
seconds = time.process_time() - start
rows = test.unfold(0, WINDOW, 8)[::4]  # eight characters of each window, given the 25 before them
with torch.no_grad():
    scores[f"Transformer, {STEPS} steps"] = bits(gpt.step_log_prob(rows)[:, -8:]), seconds

# %% [markdown]
# ## One scoreboard

# %%
print(f"{'':24}{'bits per character':>20}{'CPU seconds':>14}")
for name, (found, spent) in sorted(scores.items(), key=lambda each: -each[1][0]):
    print(f"{name:24}{found:20.3f}{spent:14.1f}")

# %% [markdown]
# The Transformer **loses**, and not by little: seconds of gradients against a tenth of a second of counting. With time
# it wins. A network of 4 layers and width 128, with nanoGPT's settings for a CPU at twice its rate, stands at 2.82 bits
# after 22 seconds of one core, at 1.87 after three minutes, passes the chain of five characters (1.76) after four, and
# comes to 1.70 after eight; from there it overfits half a million characters. `benchmarks/explicit_tasks/
# text_quality.py` runs that curve; more windows a step, dropout, and a GPU go further.
#
# What the Transformer brings is a likelihood with a gradient: it takes a context (`context_shape`), it grows with
# compute where the chain stops, and its window reaches further than any count can.

# %%
found = {name: score for name, (score, _) in scores.items()}
assert found["5-grams"] < found["3-grams"] < found["characters alone"] < found["uniform"]
assert found["5-grams"] < found[f"Transformer, {STEPS} steps"] < found["characters alone"]

# %% [markdown]
# ## Drawing
#
# `continue_from` goes on from a text of any length. Keys and values of what was read are kept, so that a character
# costs one place and not a whole pass; beyond the window the oldest characters are forgotten. A temperature below 1
# makes the likely likelier, `top_p` cuts off the tail of what is unlikely.

# %%
prompt = torch.tensor([data.tokenizer.encode("The function returns ")])
for options in ({}, {"temperature": 0.5}, {"top_p": 0.7}, {"temperature": 0}):
    torch.manual_seed(0)
    drawn = gpt.continue_from(prompt, 120, keep=WINDOW // 2, **options)
    print(f"--- {options or 'as it is'}\n{data.text(prompt)}{data.text(drawn)}\n")

# %% [markdown]
# A text of one's own takes the same road: `zoo.datasets.from_text(text)` by the character, or with any tokenizer that
# has `encode`, `decode` and `size`. On the command line, `data = "pydoc_topics"` and
# `model = {family = "transformer", event_shape = [64]}` make a run, and `zoo sample` prints what it draws.
