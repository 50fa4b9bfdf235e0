"""Carrying a program's recipe out: draw its posterior, diagnose it, leave a folder with a report.

spec.toml  posterior.nc (every group that ArviZ knows)  summary.csv  verdict.txt  figures/*.png  report.html
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import inference
from inference.diagnostics.arviz_io import to_netcdf
from inference.from_idata import from_idata
from inference.posterior import Posterior
from inference.posterior_groups import plates_of
from inference.program import Program
from zoo.app import report
from zoo.app.program_recipe import ProgramRecipe
from zoo.app.runs import SPEC, new_folder, refuse_existing, toml
from zoo.app.spread_report import outbreak_sections
from zoo.registry import near
from zoo.spec import SpecError

DRAWS = "posterior.nc"
Say = Callable[[str], None]


def run(made: ProgramRecipe, folder: Path, say: Say = print) -> Path:
    """Draw, diagnose and leave the folder; the path of the report."""
    refuse_existing(folder)
    program = Program.of(made.program, made.arguments, device=made.settings.get("device"), seed=made.seed)
    check_coords(made, program)
    say(f"{made.name}: drawing the posterior of {made.program_name} by {made.method}")
    posterior = made.infer(program)
    say(f"{made.name}: diagnosing")
    found = inference.diagnose(posterior)
    with new_folder(folder) as draft:
        (draft / SPEC).write_text(toml(made.table), encoding="utf-8")
        summary = posterior.summary()
        summary.to_csv(draft / "summary.csv")
        (draft / "verdict.txt").write_text("\n".join(found.verdict) + "\n", encoding="utf-8")
        to_netcdf(posterior.to_idata(coords=made.coords), draft / DRAWS)
        lead = [drawn(made, posterior), *found.verdict]
        course = outbreak_sections(posterior, made.arguments["cases"]) if "cases" in made.arguments else []
        parts = [*course, *sections(made, summary, found)]
        report.write(draft / "report.html", f"{made.name}: a posterior", lead, parts, f"seed {made.seed}")
    for sentence in lead:
        say(sentence)
    return folder / "report.html"


def check_coords(made: ProgramRecipe, program: Program) -> None:
    """Refuse names of places before anything is drawn: of a plate that is not there, or not so long."""
    plates = plates_of(program)
    for plate, places in made.coords.items():
        if plate not in plates:
            raise SpecError(f"coords.{plate} is no plate of {program.name}{near(plate, plates)}")
        if len(places) != plates[plate]:
            raise SpecError(f"coords.{plate} names {len(places)} places, but the plate has {plates[plate]}")


def posterior_of(made: ProgramRecipe, folder: Path) -> Posterior:
    """The draws of a run's folder, of the program and data of its spec."""
    return from_idata(folder / DRAWS, made.program, made.arguments)


def drawn(made: ProgramRecipe, posterior: Posterior) -> str:
    """What was done, in a sentence."""
    chains, draws = posterior.shape
    how = f"{chains:,} chains of {draws:,} draws" if chains > 1 else f"{draws:,} draws"
    return f"The posterior of {made.program_name}: {how} by {posterior.method}, {posterior.seconds:.1f} seconds."


def sections(made: ProgramRecipe, summary: Any, found: Any) -> list[report.Section]:
    """The parts of the report: what is known of each number, how far the draws can be trusted, the spec."""
    pictures = {name.replace("_", " ").capitalize() + ".": figure for name, figure in found.plots().items()}
    return [
        report.Section("Posterior", ["Means, deviations and intervals of every number."], table=summary),
        report.Section("Diagnosis", table=found.table, pictures=pictures),
        report.Section("Spec", ["`zoo run` takes this again."], code=toml(made.table)),
    ]
