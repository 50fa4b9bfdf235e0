# %% [markdown]
# # Ask a Bayesian network
#
# A clinic's model of eight yes-or-no variables ("asia", Lauritzen and Spiegelhalter, 1988): a visit to Asia raises the
# risk of tuberculosis, smoking that of lung cancer and bronchitis; an X-ray shows either of the first two, shortness of
# breath (`dysp`) comes of all three. The network comes by name, and no answer below is an approximation.

# %%
import tempfile
from pathlib import Path

import pandas as pd
import torch

from inference import HillClimb, draw_network, learn_structure, log_likelihood, query
from inference.exact import Engine, counterfactual, value_of_observation
from zoo import BayesianNetwork

asia = BayesianNetwork.from_name("asia")
print(asia)

# %% [markdown]
# A smoker is short of breath. `query` answers one question in words: what is asked, what is given, how it was found.

# %%
found = {"smoke": "yes", "dysp": "yes"}
answer = query(asia, ["tub", "lung", "bronc"], given=found)
print(answer)
assert answer.kind == "exact"

# %% [markdown]
# Bronchitis explains it. The same as a picture, what is known shaded:

# %%
folder = Path(tempfile.mkdtemp())
unknown = [v for v in asia.variables if v not in found]
figure = draw_network(asia, query(asia, unknown, given=found), found, title="a smoker, short of breath")
figure.savefig(folder / "asia.png", dpi=100)
print("drawn:", (folder / "asia.png").stat().st_size > 0)

# %% [markdown]
# ## Many patients at once
#
# The `Engine` compiles the question once and runs every row through the same tensors. Rows are a DataFrame; a cell that
# is not known stays empty, in other places in each row. The plan says beforehand what an answer will cost.

# %%
engine = Engine(asia)
patients = pd.DataFrame(
    {
        "smoke": ["yes", "no", None],
        "xray": ["yes", None, "no"],
        "dysp": ["yes", "yes", None],
        "asia": [None, "yes", None],
    }
)
print(engine.plan(known=patients.columns, targets=["lung"]))
beliefs = engine.marginals(patients, ["tub", "lung", "bronc"])
yes = {v: states.index("yes") for v, states in engine.states.items()}
print(patients.assign(**{f"P({v})": p[:, yes[v]].numpy().round(4) for v, p in beliefs.values.items()}))
print("log-probability of what is known, nats:", beliefs.log_evidence.numpy().round(3))

# %% [markdown]
# The single most probable story is another question than the most probable state of each variable: its states occur
# together. `best=2` gives the runner-up as well.

# %%
stories = engine.most_probable({"smoke": "yes", "xray": "yes", "dysp": "yes"}, best=2)
print(stories.to_frame())

# %% [markdown]
# ## Which test next?
#
# What an observation is worth for knowing whether there is cancer: by how many nats it is expected to lessen the
# doubt. The most telling comes first. `either` is no test that a clinic could order, so the candidates are named.

# %%
value = value_of_observation(engine, "lung", found, candidates=["asia", "xray"])
print(value.round(5))
assert value.columns[0] == "xray"

# %% [markdown]
# ## Seeing, doing, and what would have been
#
# Seeing bronchitis makes smoking likelier; giving someone bronchitis does not make a smoker. `do` cuts the edges into
# what is set.

# %%
seen = query(asia, "smoke", given={"bronc": "yes"})["smoke"].sel(smoke="yes").item()
done = query(asia, "smoke", do={"bronc": "yes"})["smoke"].sel(smoke="yes").item()
print(f"P(smoker): {seen:.3f} where bronchitis is seen, {done:.3f} where it is caused")
assert seen > done == 0.5

# %% [markdown]
# A counterfactual is about one patient. This smoker has cancer: would it have come without smoking? The tables fix how
# often, not who; the default says that smoking saves nobody from cancer, and under it 1 % / 10 % would have it anyway.

# %%
without = counterfactual(asia, ["lung"], {"smoke": "yes", "lung": "yes"}, {"smoke": "no"})
chance = float(without.values["lung"][0, yes["lung"]])
print(f"P(cancer, had this patient not smoked) = {chance:.3f}")
assert abs(chance - 0.1) < 1e-9

# %% [markdown]
# ## Learn the network from rows
#
# 20,000 records are drawn; in a tenth of them the X-ray was not read. Structure is learned from complete records, and
# the error says so.

# %%
torch.manual_seed(0)
records = asia.decode(asia.sample(20_000))
records.loc[records.index % 10 == 0, "xray"] = None
try:
    learn_structure(records)
except ValueError as error:
    print(error)
complete = records.dropna()
learned = learn_structure(complete, HillClimb(max_parents=2))
print(sorted(learned.edges()))

# %% [markdown]
# The result has its tables and can be asked at once. Arrows may point the other way than in the network the rows came
# from: rows alone do not tell A -> B from B -> A, so what is to be compared is what the two say.

# %%
for name, model in {"true": asia, "learned": learned}.items():
    print(
        f"{name:8} P(lung | a smoker, short of breath) =",
        query(model, "lung", given=found)["lung"].sel(lung="yes").item(),
    )

torch.manual_seed(1)
fresh = asia.decode(asia.sample(5_000))
scores = {
    name: log_likelihood(model, model.encode_frame(fresh))
    for name, model in {"true": asia, "learned": BayesianNetwork(graph=learned)}.items()
}
for name, score in scores.items():
    print(f"{name:8} {score}")
loss = scores["true"] - scores["learned"]
print(f"lost by learning: {loss.mean:.4f} +- {loss.error:.4f} nats a record")
assert loss.mean < 0.01
