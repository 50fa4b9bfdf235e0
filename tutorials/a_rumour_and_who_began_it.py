# %% [markdown]
# # A rumour on a social network: who began it?
#
# The people are the 77 characters of Les Miserables, joined where they meet in a chapter. One of them begins a rumour,
# each friendship passes it on with a chance a step, and some steps later we see who knows it, but neither when they
# heard it nor from whom. `query` gives the probability that each of them began it: it draws whole histories, by their
# exact probability, of which each ends in what was seen.

# %%
import math
import time
from pathlib import Path
from tempfile import mkdtemp

import matplotlib

matplotlib.use("agg")
import networkx as nx
import numpy as np

from inference import query
from zoo.spread import Graph, GraphSpread
from zoo.spread.pictures import draw_graph
from zoo.spread.ready import si

folder = Path(mkdtemp())
people = nx.les_miserables_graph()
graph = Graph.of(people)  # how often they meet is not used: that would be weights="weight"
spread = GraphSpread(si(), graph, {"beta": -math.log1p(-0.08)})
STEPS = 5
print(spread)

# %% [markdown]
# ## Simulate, and hide who began it

# %%
began = "Courfeyrac"
knows = spread.simulate({"I": [began]}, STEPS, seed=4).states[0].numpy() == 1
labels = [name for name, heard in zip(graph.nodes, knows, strict=True) if heard]
print(f"{len(labels)} of {graph.n} know it after {STEPS} steps: {', '.join(labels)}")

# %% [markdown]
# ## Ask
#
# Who is not named has not heard it, and that counts as much: someone with many friends who never heard it can't have
# known it for long.

# %%
start = time.process_time()
answer = query(spread, "source", given={"infected": labels, "step": STEPS})
print(answer)
told = float(answer["source"].sel(source=began))
print(f"{time.process_time() - start:.1f} CPU s; the probability of {began} is {told:.3f}")

# %% [markdown]
# ## What if only half of the people are seen?
#
# Of the others nothing is known: they may have heard it, passed it on, or begun it.

# %%
looked = np.random.default_rng(1).random(graph.n) < 0.5
seen = [name for name, yes in zip(graph.nodes, looked, strict=True) if yes]
half = query(
    spread, "source", given={"infected": [name for name in seen if name in labels], "seen": seen, "step": STEPS}
)
print(half)

# %% [markdown]
# The posterior on the graph: what was seen, then who may have begun it, by all and by half of the people.

# %%
place = graph.nodes.index(began)
share = {"all seen": answer["source"].to_numpy(), "half of them seen": half["source"].to_numpy()}
panels = {"knows it": knows.astype(float), **{title: each / each.max() for title, each in share.items()}}
figure = draw_graph(graph, panels, marked={"began it": [place]}, label="knows it; began it, by the likeliest")
figure.savefig(folder / "who_began_it.png", dpi=80)
print(f"drawn to {folder / 'who_began_it.png'}")

# %% [markdown]
# ## Beside the usual guesses
#
# Distance centrality guesses whoever is nearest to all who know it. It looks at the shape alone: not at the chance that
# an edge passes it on, the steps, or those who never heard it. Over some rumours, the rank of who truly began it:

# %%
random = np.random.default_rng(0)
ranks = []
while len(ranks) < 8:
    name = graph.nodes[int(random.integers(graph.n))]
    heard = spread.simulate({"I": [name]}, STEPS, seed=int(random.integers(2**31))).states[0].numpy() == 1
    if not 5 <= heard.sum() <= 20:
        continue
    who = [other for other, yes in zip(graph.nodes, heard, strict=True) if yes]
    found = query(spread, "source", given={"infected": who, "step": STEPS})["source"].sel(source=who).to_numpy()
    far = dict(nx.all_pairs_shortest_path_length(graph.to_networkx().subgraph(who)))
    near = -np.array([sum(far[other].values()) for other in who])
    here = who.index(name)
    ranks.append([(scores > scores[here]).sum() + ((scores == scores[here]).sum() + 1) / 2 for scores in (found, near)])
    ours, theirs = ranks[-1]
    print(f"{len(who):3} know it; {name} is number {ours:.1f} by the posterior, {theirs:.1f} by distances")
ours, theirs = np.mean(ranks, 0)
print(f"mean rank {ours:.1f} by the posterior, {theirs:.1f} by distances")
