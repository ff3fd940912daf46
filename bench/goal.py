"""What the issue asks for, beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One number: ``reached`` is None where it can't be judged by this run."""

    name: str
    target: str
    measured: str
    reached: bool | None
    note: str = ""

    def cells(self) -> list[str]:
        said = "?" if self.reached is None else "yes" if self.reached else "**no**"
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
