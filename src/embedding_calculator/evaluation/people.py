"""Age and gender on portraits of people whose age and gender are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.attributes import AgeReport, Confusion, confusion, report_ages
from embedding_calculator.evaluation.detection import Doubles
from embedding_calculator.evaluation.portraits import FaceFinder, central, padded
from embedding_calculator.evaluation.report import Report, Section, Table
from embedding_calculator.evaluation.tables import read_table
from embedding_calculator.imaging.decode import Limits, open_picture


@dataclass(frozen=True, slots=True)
class Person:
    """A portrait's name, and what is known: ``age`` in years, ``gender`` as male or female."""

    photo: str
    age: float | None
    gender: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """What came out; ``ages`` and ``genders`` are None where nothing was known or nothing was told."""

    people: int
    left_out: int
    known_ages: Doubles
    told_ages: Doubles
    ages: AgeReport | None
    genders: Confusion | None

    def summary(self) -> dict[str, Any]:
        """Everything in numbers, for programs."""
        summary: dict[str, Any] = {"people": self.people, "left_out": self.left_out}
        if self.ages:
            summary["age"] = {
                "mean_absolute_error": self.ages.error,
                "bias": self.ages.bias,
                "inside_range": self.ages.inside,
                "claimed_inside_range": self.ages.claimed,
                "by_decade": {str(decade.first): decade.error for decade in self.ages.decades},
            }
        if self.genders:
            summary["gender"] = confusion_summary(self.genders)
        return summary


def confusion_summary(counts: Confusion) -> dict[str, Any]:
    """A confusion in numbers, for programs."""
    return {
        "accuracy": counts.accuracy,
        "balanced_accuracy": counts.balanced_accuracy,
        "recall": counts.recalls,
        "labels": counts.labels,
        "counts": counts.counts.tolist(),
    }


def confusion_table(counts: Confusion) -> Table:
    """A confusion as rows: of each label, how many and how many of them were told right."""
    rows = counts.counts.sum(axis=1)
    return Table(
        ["known", "faces", "told right"],
        [
            [label.replace("_", " "), str(rows[counts.labels.index(label)]), f"{recall:.1%}".replace("%", " %")]
            for label, recall in counts.recalls.items()
        ],
    )


def read_people(path: Path) -> list[Person]:
    """A CSV with image, and age or gender or both; a cell may be empty.

    Raises:
        ParameterError: there is neither column, or a cell is not what it should be.
    """
    people = []
    for row in read_table(path, ("image",)):
        age, gender = row.get("age", "").strip(), row.get("gender", "").strip().lower()
        if gender not in {"", "male", "female"}:
            raise ParameterError(f"{path}: {row['image']} has the gender {gender!r}; it is male or female")
        try:
            people.append(Person(row["image"], float(age) if age else None, gender or None))
        except ValueError as error:
            raise ParameterError(f"{path}: {row['image']} has the age {age!r}, which is not a number") from error
    if not any(person.age is not None or person.gender for person in people):
        raise ParameterError(f"{path} has neither ages nor genders; it needs a column age or gender")
    return people


def ask(finder: FaceFinder, photo: bytes, pad: int = 0) -> dict[str, Any]:
    """Age and gender of the face nearest to the photo's middle, for the journal; ``face`` tells if there is one.

    Raises:
        InputError: the photo cannot be used.
    """
    picture = open_picture(photo, limits=Limits(len(photo), 2**31))
    if pad:
        photo = padded(picture, pad)
        picture = open_picture(photo, limits=Limits(len(photo), 2**31))
    slugs = tuple(slug for slug in ("age", "gender") if slug in finder.plugins)
    face = central(finder.find_faces(photo, plugins=slugs), picture)
    return {"face": face is not None, "age": face and face.age, "gender": face and face.gender}


def assess(people: Sequence[Person], answers: Mapping[str, Mapping[str, Any]]) -> Attributes:
    """What is known against what ``ask`` told.

    Raises:
        ParameterError: no photo shows a face that anything was told about.
    """
    seen = [(person, answers[person.photo]) for person in people if answers[person.photo].get("face")]
    aged = [(person.age, answer["age"]) for person, answer in seen if person.age is not None and answer.get("age")]
    known = np.array([age for age, _ in aged], np.float64)
    low, high, sure = (np.array([told[key] for _, told in aged], np.float64) for key in ("low", "high", "probability"))
    words = [
        (person.gender, answer["gender"]["value"]) for person, answer in seen if person.gender and answer["gender"]
    ]
    if not aged and not words:
        raise ParameterError("nothing was told about anybody: are there faces, and is an age or gender plugin on?")
    return Attributes(
        people=len(seen),
        left_out=len(people) - len(seen),
        known_ages=known,
        told_ages=(low + high) / 2,
        ages=report_ages(known, low, high, sure) if aged else None,
        genders=confusion([one for one, _ in words], [other for _, other in words]) if words else None,
    )


def write_report(result: Attributes, folder: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """Draw the plots and write ``report.html`` into the folder; returns its path."""
    facts: list[tuple[str, str]] = [(str(result.people), "people")]
    sections: list[Section] = []
    if ages := result.ages:
        facts += [
            (f"{ages.error:.1f}", "years of mean error"),
            (f"{ages.bias:+.1f}", "years too old (+) or too young (-)"),
            (f"{ages.inside:.0%}".replace("%", " %"), f"of the ranges hold the age; {ages.claimed * 100:.0f} % said"),
        ]
        sections += [
            Section(
                "Error by decade of life",
                "Mean absolute difference between the known age and the middle of the range; on each bar, how many "
                "people it is the mean of.",
                plots.save(plots.age_errors(ages), folder, "age-errors"),
            ),
            Section(
                "Everybody",
                "On the line, the age is told exactly.",
                plots.save(plots.age_scatter(result.known_ages, result.told_ages), folder, "ages"),
            ),
        ]
    if genders := result.genders:
        facts.append((f"{genders.accuracy:.1%}".replace("%", " %"), "genders told right"))
        sections.append(
            Section(
                "Gender",
                "",
                plots.save(plots.confusion_matrix(genders), folder, "genders"),
                confusion_table(genders),
            )
        )
    path = folder / "report.html"
    left = f"; left out, because no face was found: {result.left_out}" if result.left_out else ""
    lead = f"What the service says about people whose age or gender is known. People: {result.people}{left}."
    Report("Age and gender", lead, facts, sections, asked).write(path)
    return path
