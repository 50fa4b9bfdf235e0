# %% [markdown]
# # Whom to vaccinate
#
# An epidemic comes to a town whose people are known by whom they meet. There are twenty doses. Whom to give them, which
# ties to cut, and what it is worth to meet half as often: each is a question "what if", asked by `query(..., do=...)`.
# An answer has an interval, since the same epidemic may die out in a kitchen or run through the town.

# %%
from pathlib import Path
from tempfile import mkdtemp

import networkx as nx
import pandas as pd
import torch

from inference import best, query
from zoo.spread import Graph, GraphSpread, independent_cascade, sir
from zoo.spread.layouts import layout
from zoo.spread.pictures import animate, draw_curves, draw_graph

town = nx.powerlaw_cluster_graph(400, 3, 0.4, seed=2)
graph = Graph.of(town)
epidemic = GraphSpread(sir(), graph, {"beta": 0.07, "gamma": 0.25})  # a day; one is ill for some four days
folder = Path(mkdtemp())
print(graph)

# %% [markdown]
# ## If one let it be
#
# Three people come home with it, we don't know who: `{"I": 3}` is three at random, anew in each run.

# %%
before = query(epidemic, ["total", "peak", "peak_step"], given={"I": 3})
print(before)

# %% [markdown]
# One such epidemic in many runs: the number who are ill, with bands that hold half and nine tenths of the runs.

# %%
first = [17, 120, 301]
course = epidemic.simulate({"I": first}, 60, replicates=400, seed=1)
curves = draw_curves(torch.arange(61), {"I": course["I"], "R": course["R"]}, xlabel="day", ylabel="people")
curves.savefig(folder / "curves.png", dpi=90)

places = layout(graph)
reached = {f"day {day}": ((course.reached >= 0) & (course.reached <= day)).double().mean(0) for day in (2, 8, 14, 30)}
spread = draw_graph(graph, reached, places=places, marked={"who began it": first}, label="reached by then, probability")
spread.savefig(folder / "spread.png", dpi=90)
print(folder / "curves.png", folder / "spread.png")

# %% [markdown]
# ## Twenty doses
#
# `best` chooses greedily: the person without whom most people would be spared, then the next one given the first, and
# so on. In each sampled run, what everybody's absence would spare is read off at once: those to whom every way leads
# through him. What the choice is worth is told by other runs than those it was made by, so that it is not flattered.

# %%
doses = 20
choice = best(epidemic, doses, "vaccinate", given={"I": 3})
print(choice.to_frame().head(6))
print(f"greedy {choice.value:.1f} ± {choice.error:.1f}", choice.others)
print("guarantee:", choice.guarantee)

# %% [markdown]
# The guarantee is that there is none: two people who together close all ways to a third are worth something together
# and nothing apart, and then a greedy choice may go wrong. (On a tree with one origin there is one; `best` says so.)
#
# The same question to `query`, with its interval. Runs with and without the doses share all chance that the doses do
# not touch, so that what is saved is a difference within each run, and its error a fraction of what it would be.

# %%
degrees = sorted(town.nodes, key=town.degree, reverse=True)
random = torch.randperm(400, generator=torch.Generator().manual_seed(0))[:doses].tolist()
plans = {
    "20 at random": {"vaccinate": random},
    "20 who know most people": {"vaccinate": degrees[:doses]},
    "20 chosen greedily": {"vaccinate": choice.nodes},
}

# %% [markdown]
# ## Ties and contacts
#
# Or cut the eighty ties that most shortest ways lead along; or let everybody meet half as often, from the tenth day on
# or from the third.

# %%
ways = nx.edge_betweenness_centrality(town)
plans["80 ties cut"] = {"cut": sorted(ways, key=ways.get, reverse=True)[:80]}
plans["contacts halved from day 10"] = {"contacts": {10: 0.5}}
plans["contacts halved from day 3"] = {"contacts": {3: 0.5}}

answers = {name: query(epidemic, ["saved", "total", "peak"], given={"I": 3}, do=do) for name, do in plans.items()}
rows = {name: {**answer["saved"].to_series(), "peak": float(answer["peak"][0])} for name, answer in answers.items()}
table = pd.DataFrame(rows).T.rename(columns={"mean": "saved", "low": "saved, 5 %", "high": "saved, 95 %"})
print(table.round(1).to_string())

# %% [markdown]
# An interval of what is saved begins at nought: some epidemics die out by themselves, and there is nothing to save. The
# error of the mean is another matter, and is small.
#
# The town after the doses: whom it reaches by the thirtieth day, with none, with random and with chosen ones.

# %%
shown = {}
for name, nodes in {"nobody": [], "20 at random": random, "20 chosen greedily": choice.nodes}.items():
    spared = [node for node in nodes if node not in first]
    run = GraphSpread(sir(), graph.without_nodes(spared), epidemic.rates)
    shown[name] = (run.simulate({"I": first}, 30, replicates=300, seed=2).reached >= 0).double().mean(0)
chosen = {"chosen": [node for node in choice.nodes if node not in first]}
picture = draw_graph(graph, shown, places=places, marked=chosen, label="reached by day 30, probability")
picture.savefig(folder / "vaccinated.png", dpi=90)
print(folder / "vaccinated.png")

# %% [markdown]
# ## The other way round: a campaign
#
# News that is wanted to spread: whoever hears it tells each friend with chance 0.08, once. Whom to tell first? What k
# people reach is submodular (each adds no more to many than to few), and so a greedy choice has at least 63 % of the
# best choice's reach; with the samples at hand, more than that can be certified.

# %%
news = independent_cascade(graph, chance=0.08)
campaign = best(news, 5)
print(campaign)

# %% [markdown]
# ## In motion

# %%
days = range(0, 31, 2)
gif = animate(
    graph,
    course.frames(days, replicate=3),
    folder / "epidemic.gif",
    names=epidemic.compartments.names,
    places=places,
    titles=[f"day {day}" for day in days],
)
print(gif)

# %% [markdown]
# What was asked here of a graph is asked of a population too: of an `Outbreak`, or of the posterior of one, with
# `do={"contacts": {10: 0.5}}` or `do={"vaccinate": 200}`; then the interval holds how little is known of its rates.

# %%
saved = table["saved"]
assert saved["20 chosen greedily"] > 2 * saved["20 at random"]
assert saved["20 chosen greedily"] > saved["20 who know most people"] - 3 * table["error"]["20 chosen greedily"]
assert saved["contacts halved from day 3"] > saved["contacts halved from day 10"] > 0
assert campaign.certified > 0.5
assert campaign.value > campaign.others["at random"][0]
assert gif.stat().st_size > 10_000
