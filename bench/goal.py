"""What the issue asks for, beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One number: ``reached`` is None where it can't be judged by this run. ``by_ratio`` is whether it is reached beside a
    calibration, on a machine that is slower than the one that the number is for."""

    name: str
    target: str
    measured: str
    reached: bool | None
    note: str = ""
    by_ratio: bool = False

    def cells(self) -> list[str]:
        missed = "by ratio" if self.by_ratio else "**no**"
        said = "?" if self.reached is None else "yes" if self.reached else missed
        return [self.name, self.target, self.measured, said, self.note]


HEAD = ("number", "target", "measured", "reached", "beside it")


def at_most(name: str, limit: float, found: float, unit: str, note: str = "") -> Goal:
    return Goal(name, f"at most {limit:g} {unit}", f"{number(found)} {unit}", found <= limit, note)


def at_least(name: str, limit: float, found: float, unit: str, note: str = "") -> Goal:
    return Goal(name, f"at least {limit:g} {unit}", f"{number(found)} {unit}", found >= limit, note)


def number(value: float) -> str:
    """A number with three digits that count."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
