"""The loop behind `fit`: batches, players, reports, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pandas as pd
import torch
from torch import Tensor, nn

from inference import checkpoint as checkpoints
from inference.averaging import Average
from inference.batches import Batches, split
from inference.data import Batch, DatasetRows, TensorRows, as_rows, coded
from inference.objectives import Objective, Player, default_objective
from inference.progress import Bar, Callback, Progress, deferred_interrupt
from inference.progress import tensorboard as tensorboard_callback
from inference.protocols import lacks, name_of
from inference.results import Fit, tell
from inference.schedules import Schedule
from inference.settings import Settings
from inference.sites import first_broken, where
from inference.world import World


@dataclass
class _Turn:
    """A player with its optimiser."""

    player: Player
    optimizer: torch.optim.Optimizer
    lr: float
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)


@dataclass
class _Best:
    """The best held-out value so far, and the parameters that gave it."""

    value: float = float("inf")
    step: int = 0
    waited: int = 0
    state: dict[str, Tensor] | None = None


class Loop:
    """The state of one fit. Everything that changes from step to step is in `state()`."""

    def __init__(
        self, model: Any, data: Any, objective: Objective | None, settings: Settings, advice: Mapping[str, Any]
    ) -> None:
        self.model, self.settings, self.world = model, settings, World.current()
        self.advice = dict(advice)
        self.module = model if isinstance(model, nn.Module) else _parts(model)
        self._place()
        self.objective = objective or default_objective(model)
        _check_asked(self.objective, model)
        rows, self.held_out = split(self._checked(data), settings.validation, settings.seed, self._checked)
        self.objective.to(self.device)
        self.batches = Batches(rows, settings.batch_size, settings.seed, self.world, self._checked_batch)
        self.steps = settings.steps or (settings.epochs * self.batches.per_epoch if settings.epochs else 1000)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.alarms: dict[str, str] = {}
        self.best = _Best()
        self.good: list[Tensor] = []
        self.where: str | None = None

    # ---- the beginning

    def _place(self) -> None:
        settings = self.settings
        half = settings.precision is torch.bfloat16
        device = self.world.device(settings.device)
        self.module.to(device=device, dtype=None if half else settings.precision)
        anchor = next((t for t in (*self.module.parameters(), *self.module.buffers()) if t.is_floating_point()), None)
        self.device = torch.device("cpu") if anchor is None else anchor.device
        self.dtype = torch.get_default_dtype() if anchor is None else anchor.dtype
        self.autocast: AbstractContextManager = (
            torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()
        )

    def _checked(self, data: Any) -> TensorRows | DatasetRows:
        rows = as_rows(data, self.model)
        if isinstance(rows, TensorRows):
            self.objective.check(self.model, rows.x, rows.context, rows.columns)
            return rows.to(self.device, self.dtype)
        if len(rows) == 0:
            raise ValueError("data has no rows")
        return rows

    def _checked_batch(self, batch: Batch) -> Batch:
        """A batch of a `Dataset`, which only now is seen, checked and moved."""
        rows = coded(self.model, TensorRows(*batch))
        self.objective.check(self.model, rows.x, rows.context)
        rows = rows.to(self.device, self.dtype)
        return rows.x, rows.context

    def _turns(self) -> list[_Turn]:
        players = self.objective.players(self.model)
        lrs = self.settings.lr
        if isinstance(lrs, Mapping) and set(lrs) != {p.name for p in players}:
            raise ValueError(f"lr names the players {sorted(lrs)}, but they are {sorted(p.name for p in players)}")
        turns = []
        for player in players:
            if not player.parameters:
                raise ValueError(f"{player.name} of {name_of(self.model)} has no parameters to fit")
            lr = lrs[player.name] if isinstance(lrs, Mapping) else lrs
            turns.append(_Turn(player, self.settings.optimizer(player.parameters, lr), lr))
        return turns

    def _seed(self, seed: int) -> None:
        """Seed the generators that this fit puts back, and no other device's."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(seed)

    def _first_rows(self, devices: list[torch.device]) -> Batch:
        """The rows that the objective is prepared on; what noise they need leaves the steps' noise as it is."""
        looks_at, transform = self.objective.looks_at, self.settings.transform
        x, context = self.batches.first(looks_at)
        if looks_at and transform is not None:
            with torch.random.fork_rng(devices), torch.no_grad():
                x = transform(x)
        return x, context

    # ---- the run

    def run(self) -> Fit:
        settings, started = self.settings, time.perf_counter()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), deferred_interrupt() as interrupt:
            self._seed(self.world.seed(settings.seed))
            self.module.train()
            self.objective.train()
            self.world.broadcast(self.module)
            self.objective.prepare(self.model, *self._first_rows(devices))
            self._place()  # again, for parameters that came into being at a guide's first call
            self.turns = self._turns()
            self.average = Average(self.module, settings.average)
            self._keep()
            if settings.resume is not None:
                self._restore(checkpoints.load(settings.resume, self.device))
            bar = Bar(self.steps, self.step, settings.progress and self.world.first, f"fit {name_of(self.model)}")
            try:
                stopped = self._go(bar, interrupt)
            finally:
                self.average.settle()
                bar.close()
        if self.best.state is not None:
            self.module.load_state_dict(self.best.state)
        self.module.eval()
        return Fit(
            model=self.model,
            objective=type(self.objective).__name__,
            history=self._history(),
            steps=self.step,
            seconds=time.perf_counter() - started,
            stopped=stopped,
            seed=settings.seed,
            best_step=self.best.step if self.best.state is not None else None,
            extra={"recipe": self.advice} if self.advice else {},
            alarms=self.alarms,
        )

    def _go(self, bar: Bar, interrupt: Any) -> str:
        settings = self.settings
        callbacks: list[Callback] = [bar, *settings.callbacks]
        if settings.tensorboard is not None and self.world.first:
            callbacks.append(tensorboard_callback(settings.tensorboard))
        batches = self.batches.after(self.step)
        turns, world, clip, schedule = self.turns, self.world, settings.clip, settings.schedule
        several, transform, average = len(turns) > 1, settings.transform, self.average
        saved_every = settings.checkpoint.every if settings.checkpoint else 0
        while self.step < self.steps:
            x, context, share = next(batches)
            if transform is not None:
                x = transform(x)
            self.step += 1
            for turn in turns:
                if several and self.step % turn.player.every:
                    continue
                try:
                    self._move(turn, x, context, share, world, clip, schedule)
                except ValueError as error:
                    self._invalid(error, x, context)
            if average.values:
                average.update(self.step)
            if self.step == 1 < self.steps < settings.every:
                self._first()
            if self.step % settings.every == 0:
                reason = self._report(callbacks)
                if reason:
                    self._save()
                    return reason
            if saved_every and self.step % saved_every == 0:
                self._save()
            if world.any(interrupt.pressed) if world.size > 1 else interrupt.pressed:
                self._save()
                raise KeyboardInterrupt
        self._save()  # before a last report out of turn, which a run that goes on would not have made
        if any(turn.pending for turn in turns):
            self._report(callbacks)
        return "steps done"

    def _move(
        self,
        turn: _Turn,
        x: Tensor,
        context: Tensor | None,
        share: float,
        world: World,
        clip: float | None,
        schedule: Schedule | None,
    ) -> None:
        """One player's step on one batch."""
        player, every = turn.player, self.settings.every
        watched = player.look == 1 and self.device.type == "cpu"  # elsewhere each look would wait for the device
        if self.settings.precision is torch.bfloat16:
            with self.autocast:
                loss = player.loss(x, context)
        else:
            loss = player.loss(x, context)
        if player.look == 1 or (self.step - 1) % every % player.look == 0 or self.step % every == 0:
            turn.pending.append((self.step, loss.terms))
            if watched and self.where is None and not math.isfinite(loss.value.item()):
                self.where = where(self.model, x, context)  # now, while the parameters that gave it are in place
        player.backward(loss, player.parameters)
        if world.size > 1:
            world.average(player.parameters, share)
        if clip is not None:
            nn.utils.clip_grad_norm_(player.parameters, clip)
        if schedule is not None:
            for group in turn.optimizer.param_groups:
                group["lr"] = turn.lr * schedule(self.step)
        turn.optimizer.step()

    # ---- reports

    def _history(self) -> pd.DataFrame:
        """The reports, a row each; `attrs` says what the loss counts."""
        history = pd.DataFrame(self.history)
        history.attrs["unit"] = self.objective.unit(self.model)
        return history

    def _report(self, callbacks: Sequence[Callback]) -> str | None:
        """A line of the history; why to stop, if there is a reason."""
        terms = self._look()
        for turn in self.turns:
            turn.pending.clear()
        stop = self._validate(terms) if self.held_out is not None else None
        self.history.append({"step": self.step, **terms})
        self._keep()
        self._watch(terms)
        progress = Progress(self.step, self.steps, terms, self.model)
        asked = [callback(progress) for callback in callbacks]  # all of them, whatever one says
        if self.world.any(any(asked)):
            stop = stop or "stopped by a callback"
        return stop

    def _watch(self, terms: Mapping[str, float]) -> None:
        """Warn of each illness when it is first seen."""
        if not self.world.first:
            return
        for illness, sentence in self.objective.watch(self.model, terms).items():
            if illness not in self.alarms:
                self.alarms[illness] = f"Step {self.step}: {sentence}"
                tell({illness: self.alarms[illness]})

    def _first(self) -> None:
        """The first line of the history of a fit too short for a report: what it began with, beside its last."""
        self.history.append({"step": self.step, **self._look()})
        self._keep()

    def _look(self) -> dict[str, float]:
        """The mean of each term since the last report, over all processes; what is not finite is raised, named."""
        terms: dict[str, float] = {}
        for turn in self.turns:
            prefix = f"{turn.player.name}." if len(self.turns) > 1 else ""
            at = "at" if turn.player.look == 1 else "by"
            for name in turn.pending[0][1] if turn.pending else ():
                values = torch.stack([t[name].float() for _, t in turn.pending])
                self.world.sum(values)
                values /= self.world.size
                bad = torch.nonzero(~torch.isfinite(values))
                if len(bad):
                    first = int(bad[0])
                    step = turn.pending[first][0]
                    self._refuse(f"the term {prefix + name!r} became {float(values[first])} {at} step {step}")
                terms[prefix + name] = float(values.mean())
        for name, parameter in self.module.named_parameters():
            if parameter.isnan().any():  # the loss may still be finite; tables may hold -inf, and mean it
                self._refuse(f"the parameter {name!r} became nan by step {self.step}")
        return terms

    def _invalid(self, error: ValueError, x: Tensor, context: Tensor | None) -> None:
        """Pyro's own check of a distribution's parameters, where NaN is what it found; anything else is raised."""
        site = first_broken(self.model, x, context)
        if site is None or not site.of or not math.isnan(site.value):
            raise error
        self.where = self.where or where(self.model, x, context)
        if self.world.size == 1:
            self._look()  # a term or a parameter that broke before says more
        self._refuse(f"a distribution had parameters that are no numbers at step {self.step}")

    def _refuse(self, what: str) -> NoReturn:
        """Go back to the last good report, and say so."""
        with torch.no_grad():
            torch._foreach_copy_(self._tensors(), self.good)
        good = self.history[-1]["step"] if self.history else 0
        raise FloatingPointError(
            f"{what}{self.where or ''}; the model is back at step {good}, its last good report. "
            "A lower lr, or clip, may help"
        )

    @torch.no_grad()
    def _validate(self, terms: dict[str, float]) -> str | None:
        assert self.held_out is not None
        self.module.eval()
        devices = [self.device] if self.device.type == "cuda" else []
        total = 0.0
        with torch.random.fork_rng(devices), self.average.applied():
            self._seed(self.settings.seed)
            for index in torch.arange(len(self.held_out)).split(4096):
                x, context = self.held_out.take(index.to(self.device))
                if isinstance(self.held_out, DatasetRows):
                    x, context = self._checked_batch((x, context))
                total += float(self.objective.held_out(self.model, x, context)) * len(index)
        self.module.train()
        value = terms["held_out"] = total / len(self.held_out)
        if value != value:
            self._refuse(f"the held-out objective became nan at step {self.step}")
        if self.settings.patience is None:
            return None
        best = self.best
        if value < best.value:
            with self.average.applied():
                state = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
            self.best = _Best(value, self.step, 0, state)
            return None
        best.waited += 1
        return "early stopping" if best.waited >= self.settings.patience else None

    def _tensors(self) -> list[Tensor]:
        return [
            *self.module.parameters(),
            *self.module.buffers(),
            *self.objective.buffers(),
            *self.average.values,
        ]

    @torch.no_grad()
    def _keep(self) -> None:
        """Remember the state as good."""
        now = self._tensors()
        if len(self.good) != len(now):
            self.good = [t.detach().clone() for t in now]
        elif now:
            torch._foreach_copy_(self.good, now)

    # ---- checkpoints

    def _save(self) -> None:
        if self.settings.checkpoint is not None:
            self._look()
            state = self.state()
            if self.world.first:
                checkpoints.save(state, self.settings.checkpoint.path)

    def state(self) -> dict[str, Any]:
        """All that changes from step to step."""
        mine = {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "objective": self.objective.state_dict(),
            "pending": [turn.pending for turn in self.turns],
        }
        best, settings = self.best, self.settings
        return {
            "seed": settings.seed,
            "step": self.step,
            "model": self.module.state_dict(),
            "average": self.average.state(),
            "optimizers": [turn.optimizer.state_dict() for turn in self.turns],
            "alarms": self.alarms,
            "history": [line for line in self.history if line["step"] > 1 or settings.every == 1],
            "best": {"value": best.value, "step": best.step, "waited": best.waited, "state": best.state},
            "processes": self.world.gather(mine),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if len(state["processes"]) != self.world.size:
            raise ValueError(
                f"the checkpoint is of {len(state['processes'])} processes, and can't be resumed in {self.world.size}"
            )
        if state["seed"] != self.settings.seed:
            raise ValueError(f"the checkpoint is of seed {state['seed']}, not {self.settings.seed}")
        try:
            self.module.load_state_dict(state["model"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint is of another model than this {name_of(self.model)}") from error
        self.average.restore(state.get("average"))
        mine = state["processes"][self.world.rank]
        self.objective.load_state_dict(mine["objective"])
        for turn, saved, pending in zip(self.turns, state["optimizers"], mine["pending"], strict=True):
            turn.optimizer.load_state_dict(saved)
            turn.pending = pending
        self.step, self.history, self.best = state["step"], state["history"], _Best(**state["best"])
        torch.set_rng_state(mine["cpu"].cpu())
        if mine["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(mine["cuda"].cpu(), self.device)
        self.alarms = state.get("alarms", {})
        self._keep()


def _check_asked(objective: Any, model: Any) -> None:
    """Refuse an objective of another kind of model; whatever is called as one may do without saying what it asks."""
    missing = lacks(model, getattr(objective, "asks", object))
    if missing:
        raise TypeError(
            f"{name_of(objective)} can't fit this {name_of(model)}, which has no {', '.join(missing)}; leave the "
            f"objective out and it is {name_of(default_objective(model))}"
        )


def _parts(model: Any) -> nn.ModuleList:
    """The modules that a plain object holds as its model and guide, so that their parameters are found."""
    return nn.ModuleList(
        part for part in (getattr(model, "model", None), getattr(model, "guide", None)) if isinstance(part, nn.Module)
    )
