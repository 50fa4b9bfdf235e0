"""The `zoo` command."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.app.pack_command import add_packing
from zoo.app.query_command import add_query

# Whatever takes long to import is imported by the command that needs it: `zoo --help` answers at once.

ABOUT = "Generative models of every kind: fitted, asked, compared and diagnosed in one way."
EXAMPLES = """examples:
  zoo list                                      the families, and the data by name
  zoo show vae                                  a family's kind, parameters and papers
  zoo run digits-vae.toml --set fit.steps=500   fit and ask; leaves runs/digits-vae/report.html
  zoo sample runs/digits-vae -n 100 --out digits.png
  zoo score runs/moons points.csv               log-likelihood of each row, in nats
  zoo compress runs/topics notes.txt --out notes.zoo        lossless, about as short as the likelihood says
  zoo query asia --given smoke=yes dysp=yes --find lung bronc
  zoo query alarm --rows rows.csv --find HYPOVOLEMIA --out posteriors.csv
  zoo compare vae.toml realnvp.toml             one scoreboard
  zoo run schools.toml                          a Bayesian program's posterior, with its diagnosis
  zoo diagnose runs/schools                     or any posterior.nc that ArviZ reads
  zoo query runs/flu --find peak                what the draws of a program's run say
  zoo query rumour.toml --find source --given infected=Valjean,Javert step=4    a spread on a graph
  zoo demo                                      a model of every kind on real digits, in three minutes

a spec (`zoo run SPEC.toml`):
  data = "digits"
  [model]
  family = "vae"
  latent = 8
  prior = {family = "realnvp", layers = 4}
  [fit]
  steps = 2000
"""
SPEC = """a spec, of which only data and model are needed:
  name = "digits-vae"                 the run's folder; the file's name unless told
  data = "digits"                     or {name = "digits", view = "logit"}, or {csv = "rows.csv", held_out = 0.25}
  [model]                             `zoo show FAMILY` tells what a family takes
  family = "vae"
  latent = 8
  prior = {family = "realnvp"}        any model fits a slot for one
  [fit]                               the keywords of inference.fit, or of inference.em
  steps = 2000                        and batch_size, lr, seed, validation, patience, ...
  schedule = {name = "cosine"}        or warmup, linear, cooldown
  [ask]
  samples = 512                       for the report; and log_likelihood, diagnose, evaluate = true or false
views: raw, dequantised, logit, binarised, unit, standardised, flat; the family's own choice unless told"""
PROGRAM = """a spec of a program with parameters of its own (`zoo list` names programs):
  program = "eight_schools"           or {file = "mine.py:model", data = {csv = "rows.csv", arguments = {y = "score"}}}
  [mcmc]                              or [smc], [variational], [laplace], [pathfinder]; the keywords of inference.mcmc
  kernel = {name = "nuts"}            chees (unless told), nuts, random_walk, stretch, elliptical_slice
  [coords]
  school = ["A", "B", "C", "D", "E", "F", "G", "H"]     names of a plate's places"""
OUTBREAK = """a spec of an outbreak in a population:
  [program]
  data = {cases = [3, 8, 26, 76, nan, nan]}             or {csv = "beds.csv", arguments = {cases = "beds"}}
  [program.spread]
  compartments = "sir"                si, sis, sir, seir, sirs, bass, daley_kendall, maki_thompson; or as below
  start = {S = 762, I = 1}
  observes = "I"                      a compartment; or ["S", "I"], the new events of a transition
  times = 6                           days 1, ..., 6; or the times themselves
  [program.spread.priors]             positive_normal, log_normal, exponential, gamma, beta, uniform; or a number
  beta = {name = "positive_normal", mean = 2.0, sd = 1.0}
  gamma = 0.5"""
VARIANTS = """of groups, of transitions of your own, and of rates that change it says:
  compartments = {name = "sir", groups = ["young", "old"], contacts = [[3, 1], [1, 2]], travel = [[0, 0.1], [0.1, 0]]}
  start = {S = [500, 262], I = [1, 0]}
  compartments = {names = ["S", "I"], transitions = [{source = "S", target = "I", rate = "beta", by = "I"}]}
  beta = {name = "piecewise", prior = {name = "exponential", rate = 1.0}, at = [7]}
  beta = {name = "random_walk", first = {name = "exponential", rate = 1.0}, scale = 0.2, at = [7, 14]}"""

SPECS = (SPEC, PROGRAM, OUTBREAK, VARIANTS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for a user's error, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        print("zoo: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        if arguments.traceback:
            traceback.print_exc()
        return _refused(arguments, " ".join(str(error).split()) or type(error).__name__)
    except (RuntimeError, AssertionError) as error:
        # What torch says of a device or an operation that is not there; below its first line it lists C++ frames.
        if arguments.traceback:
            traceback.print_exc()
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "it gave no reason")
        return _refused(arguments, f"{type(error).__name__}: {first} (zoo --traceback shows where)")
    return 0


def _refused(arguments: argparse.Namespace, sentence: str) -> int:
    print(f"zoo {arguments.name}: {sentence}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="zoo", description=ABOUT, epilog=EXAMPLES, formatter_class=raw)
    top.add_argument("--traceback", action="store_true", help="show where an error arose")
    commands = top.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Any], None], about: str, example: str = "") -> argparse.ArgumentParser:
        epilog = f"example:\n  {example}" if example else None
        made = commands.add_parser(name, help=about, description=about, epilog=epilog, formatter_class=raw)
        made.set_defaults(command=command)
        return made

    add("list", list_families, "list the families, the data and the networks by name")
    show = add("show", show_family, "show what a family (or data) is, takes and rests on", "zoo show realnvp")
    show.add_argument("family", metavar="FAMILY", help="a family or data, as `zoo list` names them")
    _add_runs(add)
    _add_asking(add)
    demo = add("demo", demonstrate, "fit, compare and ask a model of every kind, in about three minutes")
    demo.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: runs/demo)")
    return top


def _add_runs(add: Callable[..., argparse.ArgumentParser]) -> None:
    run = add("run", run_spec, "fit the model of a spec, ask what it asks, leave a folder with a report",
              "zoo run digits-vae.toml --set fit.steps=500 --set model.latent=4\n\n" + "\n\n".join(SPECS))  # fmt: skip
    run.add_argument("spec", type=Path, metavar="SPEC.toml")
    compare = add("compare", compare_specs, "fit the models of several specs and put them on one scoreboard",
                  "zoo compare vae.toml realnvp.toml --out runs/digits")  # fmt: skip
    compare.add_argument("specs", type=Path, nargs="+", metavar="SPEC.toml")
    for command in (run, compare):
        command.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: runs/NAME)")
        command.add_argument(
            "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="change a key of the spec"
        )


def _add_asking(add: Callable[..., argparse.ArgumentParser]) -> None:
    sample = add("sample", sample_run, "draw from a fitted model", "zoo sample runs/digits-vae -n 64 --out digits.png")
    score = add("score", score_rows, "log-likelihood of each row of a CSV file, in nats, with its kind",
                "zoo score runs/moons points.csv > scores.csv")  # fmt: skip
    diagnose = add(
        "diagnose", diagnose_run, "say how far a fitted model can be trusted", "zoo diagnose runs/digits-vae"
    )
    for command in (sample, score, diagnose):
        command.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    sample.add_argument("-n", type=int, default=16, metavar="N", help="how many rows (default: 16)")
    sample.add_argument(
        "--out", type=Path, metavar="FILE", help="a .csv, .png or (of text) .txt file (default: to the terminal)"
    )
    score.add_argument("data", metavar="DATA.csv")
    for command in (sample, score):
        command.add_argument("--seed", type=int, default=0)
    add_query(add)
    add_packing(add)


# ---- commands


def list_families(arguments: Any) -> None:
    from zoo import datasets, programs
    from zoo.registry import families

    print("families (zoo show FAMILY)")
    print(_columns({member.name: member.summary for member in families()}))
    print("\ndata (zoo show DATA)")
    print(_columns(datasets.names()))
    print("\nnetworks (zoo query NETWORK)")
    print(_wrapped(", ".join(datasets.networks())))
    print("\nprograms (zoo show PROGRAM)")
    print(_wrapped(", ".join(programs.PROGRAMS)))


def show_family(arguments: Any) -> None:
    from zoo import datasets, programs
    from zoo.app.card import card, data_card, program_card
    from zoo.registry import family

    if arguments.family in programs.PROGRAMS:
        print(program_card(programs.PROGRAMS[arguments.family]))
    elif arguments.family in datasets.names():
        print(data_card(datasets.load(arguments.family)))
    else:
        print(card(family(arguments.family)))


def run_spec(arguments: Any) -> None:
    from zoo.app.recipe import recipe, table_of
    from zoo.app.runs import refuse_existing

    table = table_of(arguments.spec, arguments.overrides)
    folder = arguments.out or Path("runs") / str(table.get("name", arguments.spec.stem))
    refuse_existing(folder)
    if "program" in table:
        from zoo.app import program_run
        from zoo.app.program_recipe import program_recipe

        asked = program_recipe(table, arguments.spec.stem, arguments.spec.parent)
        print(f"report: {program_run.run(asked, folder)}")
        return
    made = recipe(table, arguments.spec.stem)
    from zoo.app.execute import run

    print(f"report: {run(made, folder)}")


def compare_specs(arguments: Any) -> None:
    from zoo.app.recipe import read
    from zoo.app.runs import refuse_existing

    recipes = [read(path, arguments.overrides) for path in arguments.specs]
    folder = arguments.out or Path("runs") / "-".join(made.name for made in recipes)
    refuse_existing(folder)
    from zoo.app.execute import compare

    print(f"report: {compare(recipes, folder)}")


def sample_run(arguments: Any) -> None:
    from zoo.app.asking import sample

    sample(arguments.run, arguments.n, arguments.out, arguments.seed)


def score_rows(arguments: Any) -> None:
    from zoo.app.asking import score

    score(arguments.run, arguments.data, arguments.seed)


def diagnose_run(arguments: Any) -> None:
    from zoo.app.asking import diagnose_folder

    diagnose_folder(arguments.run)


def demonstrate(arguments: Any) -> None:
    import torch

    from zoo.app.demo import demo
    from zoo.app.runs import free_name

    torch.set_num_threads(1)  # at this size a second thread costs more than it brings
    demo(arguments.out or free_name(Path("runs/demo")))


def _columns(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines)) + 2
    return "\n".join(f"  {name:<{width}}{line}" for name, line in lines.items())


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  ")


if __name__ == "__main__":
    sys.exit(main())
