# %% [markdown]
# # An image as evidence
#
# A Bayesian network answers questions about variables with a few states. Here one of its nodes is an 8x8 image: the
# class of a handwritten digit causes its parity, its size, and, by a normalizing flow, the picture. An image that is
# observed becomes a likelihood of the class, and enters exact elimination like any other evidence.

# %%
import torch

import zoo
from inference import em, fit, log_likelihood, query
from inference.schedules import cosine

raw = zoo.datasets.load("digits").flat()  # 64 grey levels a row, and the digit
digits = raw.dequantised().logit()  # on the reals, where flows live

torch.manual_seed(0)
network = zoo.build(
    {
        "family": "hybrid_network",
        "states": {"digit": 10, "parity": ["even", "odd"], "size": ["small", "large"]},
        "parents": {"parity": ["digit"], "size": ["digit"], "image": ["digit"]},
        "densities": {"image": {"family": "realnvp", "event_shape": [64], "layers": 6, "hidden": 96}},
    }
)

# %% [markdown]
# A row is one flat tensor; `rows` makes it of named values. What is discrete may be left out, or be -1 where it is
# not known. Counting gives the tables in one step; the flow learns by gradients of the same likelihood. It sees
# each image with a few draws of the noise that makes levels continuous.


# %%
def rows(view, split):
    digit = view.splits[split].y
    labels = {"digit": digit, "parity": digit % 2, "size": (digit >= 5).long()}
    return network.rows({**labels, "image": view.splits[split].x})


noisy = torch.cat([rows(raw.dequantised(seed).logit(), "train") for seed in range(8)])
print(em(network, noisy))


def decayed(parameters, lr):
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.2)


steps = 600
print(fit(network, noisy, steps=steps, lr=3e-3, optimizer=decayed, schedule=cosine(steps)))
print(em(network, noisy, steps=1))  # the gradient moved the tables too: counted again

# %% [markdown]
# ## Which digit is it?
#
# All held-out images at once. The answer is exact: it is Bayes' rule on the flow's own density, and says so.

# %%
images, truth = digits.test.x, digits.test.y
answer = query(network, ["digit", "parity", ("digit", "size")], given={"image": images})
print(answer.kind, "by", answer.method)
accuracy = float((answer["digit"].values.argmax(1) == truth.numpy()).mean())
print(f"P(digit | image): {accuracy:.1%} of {len(images)} held-out images named right")
assert answer.kind == "exact"
assert accuracy > 0.95

# %% [markdown]
# Evidence mixes. Here is the nearest miss among images taken for a digit of the other parity, and what the network
# says once it hears the parity.

# %%
found = answer["digit"].values
misled = (torch.from_numpy(found.argmax(1)) - truth) % 2 == 1
chosen = int((torch.from_numpy(found)[range(len(truth)), truth] * misled).argmax())
hint = "odd" if truth[chosen] % 2 else "even"
for given in ({"image": images[chosen]}, {"image": images[chosen], "parity": hint}):
    values = query(network, "digit", given=given)["digit"].values
    likely = values.argsort()[::-1][:3]
    print(f"given {', '.join(given)}:", {int(digit): f"{values[digit]:.3f}" for digit in likely})
print("truth:", int(truth[chosen]))
assert values.argmax() % 2 == truth[chosen] % 2

# %% [markdown]
# ## Pictures of what is known
#
# The other way round: an image that is not observed is drawn, its class first, by the exact posterior of the class.
# Eight even digits, and eight that are odd and large (5, 7 or 9).


# %%
def show(pictures):
    grey = digits.restore(torch.as_tensor(pictures)).reshape(-1, 8, 8)
    for line in range(8):
        print("  ".join("".join(" .:*#"[int(level.clamp(0, 16) / 3.5)] for level in image[line]) for image in grey))
    print()


for given in ({"parity": "even"}, {"parity": "odd", "size": "large"}):
    print(given)
    show(query(network, "image", given=given, draws=8)["image"].values)

# %% [markdown]
# ## What does not fit
#
# A row's log-likelihood tells anomalies: here images turned upside down, labels unknown, against those that are not.

# %%
upright = network.rows({"image": images})
turned = network.rows({"image": images.flip(1)})
scores = [log_likelihood(network, part).values for part in (upright, turned)]
above = float((scores[0][:, None] > scores[1][None]).double().mean())
print(f"an upright image scores above a turned one in {above:.1%} of pairs")

# %% [markdown]
# And a label that contradicts its image: the joint density of the row against that of the image with any label.

# %%
wrong = {"digit": (truth + 1) % 10, "image": images}
right = {"digit": truth, "image": images}
doubt = [log_likelihood(network, network.rows(row)).values - scores[0] for row in (right, wrong)]
print(f"log P(label | image), median: right {doubt[0].median():.2f}, wrong {doubt[1].median():.1f} nats")

# %% [markdown]
# ## Few labels
#
# A label that is missing is summed out, in the likelihood and its gradient. Here one image in fifty has its digit
# told, the others their parity and size only; a normal with a mean for each class is fitted to the few, then to all.

# %%
spec = {**network.spec, "densities": {"image": {"family": "homoscedastic_gaussian", "event_shape": [64], "hidden": []}}}
torch.manual_seed(0)
student = zoo.build(spec)
part = rows(digits, "train")
known = torch.rand(len(part), generator=torch.Generator().manual_seed(0)) < 0.02
part[~known, 0] = -1
em(student, part[known], progress=False)
right = []
for name, seen in ((f"{int(known.sum())} labelled images", part[known]), (f"all {len(part)}", part)):
    fit(student, seen, steps=300, lr=2e-2, progress=False)
    found = query(student, "digit", given={"image": images})["digit"].values.argmax(1)
    right.append(float((found == truth.numpy()).mean()))
    print(f"fitted to {name}: {right[-1]:.1%} named right")
assert right[1] > right[0]
