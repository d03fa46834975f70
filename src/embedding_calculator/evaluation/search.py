"""A search for detector parameters that make fewer mistakes on annotated photos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedding_calculator.errors import ConfigurationError, ParameterError
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.datasets import AnnotatedPhoto
from embedding_calculator.evaluation.detection import mistakes
from embedding_calculator.evaluation.detectors import Bench, find
from embedding_calculator.evaluation.extras import tools_extra
from embedding_calculator.evaluation.report import Report, Section, Table
from embedding_calculator.models.catalog import Entry
from embedding_calculator.settings import granted_cpus

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

Values = Mapping[str, float]
"""Parameters by their dotted names, ``stage_thresholds.pnet``."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where one parameter is searched, both ends included; ``whole`` numbers only, where the catalogue has one."""

    low: float
    high: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Judge:
    """``overlap``: intersection over union from which a box is the annotated face. ``min_width``: annotated faces
    narrower than this, in pixels, are neither missed nor false."""

    overlap: float
    min_width: float


@dataclass(frozen=True, slots=True)
class Errors:
    """Faces ``missed`` and boxes ``false`` over a set of photos with so many ``faces``."""

    missed: int
    false: int
    faces: int

    @property
    def total(self) -> int:
        """What is searched to be few."""
        return self.missed + self.false


@dataclass(frozen=True, slots=True)
class Outcome:
    """``before`` are the catalogue's values, ``best`` those found; ``errors`` of both, on the photos searched on and
    on those held out. ``trials`` are all values tried with their errors, in order."""

    before: Values
    best: Values
    searched: tuple[Errors, Errors]
    held_out: tuple[Errors, Errors]
    trials: Sequence[tuple[Values, float]]


class Search:
    """A study that can be interrupted and gone on with; its trials are in an SQLite file."""

    def __init__(
        self, bench: Bench, photos: Sequence[AnnotatedPhoto], ranges: Mapping[str, Range], judge: Judge, folder: Path
    ) -> None:
        """Begin the study in ``folder/study.db``, or go on with it.

        Raises:
            ConfigurationError: the file holds another study, or the extra ``tools`` is not installed.
        """
        with tools_extra():
            import optuna
        self._bench, self._photos, self._ranges, self._judge = bench, photos, ranges, judge
        self._before = values_of(bench.entry.parameters, ranges)
        folder.mkdir(parents=True, exist_ok=True)
        # The sampler's seed differs from run to run, or each would begin with the same values.
        self._study: Study = optuna.create_study(
            storage=f"sqlite:///{(folder / 'study.db').resolve()}", study_name="detection", load_if_exists=True
        )
        self._study.sampler = optuna.samplers.TPESampler(seed=len(self._study.trials))
        asked = self._asked()
        if self._study.user_attrs.get("asked", asked) != asked:
            raise ConfigurationError(
                f"{folder / 'study.db'} holds a search for another detector, other photos or other ranges; "
                "choose another --output, or remove the file"
            )
        if not self._study.trials:
            self._study.set_user_attr("asked", asked)
            if all(ranges[name].low <= value <= ranges[name].high for name, value in self._before.items()):
                self._study.enqueue_trial(dict(self._before))
        self._distributions: dict[str, BaseDistribution] = {
            name: optuna.distributions.IntDistribution(int(each.low), int(each.high))
            if each.whole
            else optuna.distributions.FloatDistribution(each.low, each.high)
            for name, each in ranges.items()
        }

    @property
    def done(self) -> int:
        """How many values were tried already."""
        return len(self._complete())

    def run(self, trials: int) -> Iterator[int]:
        """Try values until so many were tried in all; yields the errors of each.

        The catalogue's values come first, if they are within the ranges.
        """
        while self.done < trials:
            trial = self._study.ask(self._distributions)
            errors = count(self._bench, self._photos, trial.params, self._judge).total
            self._study.tell(trial, errors)
            yield errors

    def outcome(self, held_out: Sequence[AnnotatedPhoto]) -> Outcome:
        """The values with the fewest errors; of several those nearest to the catalogue's."""
        trials = [(trial.params, trial.values[0]) for trial in self._complete()]
        fewest = min(errors for _, errors in trials)
        best = min((values for values, errors in trials if errors == fewest), key=self._distance)
        both = (self._before, best)
        searched, others = (
            [count(self._bench, photos, values, self._judge) for values in both] for photos in (self._photos, held_out)
        )
        return Outcome(self._before, best, (searched[0], searched[1]), (others[0], others[1]), trials)

    def _complete(self) -> list[Any]:
        from optuna.trial import TrialState

        return list(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def _distance(self, values: Values) -> float:
        return sum(
            abs(values[name] - self._before[name]) / (each.high - each.low) for name, each in self._ranges.items()
        )

    def _asked(self) -> str:
        ranges = {name: [each.low, each.high] for name, each in self._ranges.items()}
        faces = [[photo.name, photo.noses.tolist()] for photo in self._photos]
        digest = sha256(json.dumps(faces).encode()).hexdigest()
        parameters = json.loads(json.dumps(dict(self._bench.entry.parameters), default=dict))
        side = self._bench.settings.img_length_limit
        return json.dumps(
            [self._bench.entry.name, parameters, side, ranges, digest, self._judge.overlap, self._judge.min_width]
        )


def ranges_of(parameters: Mapping[str, Any], vary: Sequence[str] = ()) -> dict[str, Range]:
    """What to search: every threshold among the parameters, and what ``vary`` names.

    Each of ``vary`` is ``NAME`` or ``NAME=LOW:HIGH``, the name dotted where tables are nested. Without a range a
    number between 0 and 1 is searched from 0.05 to 0.99, any other from its half to its double.

    Raises:
        ParameterError: a name is not a number of the parameters, or a range is none; the text lists the names.
    """
    numbers = dict(_numbers(parameters))
    ranges = {name: _around(value) for name, value in numbers.items() if "threshold" in name}
    for text in vary:
        name, given, limits = text.partition("=")
        if name not in numbers:
            raise ParameterError(f"there is no number {name!r} among the parameters: {', '.join(numbers)}")
        ranges[name] = _around(numbers[name])
        if given:
            try:
                low, high = (float(limit) for limit in limits.split(":"))
            except ValueError as error:
                raise ParameterError(f"{text!r} is not NAME=LOW:HIGH") from error
            if not low < high:
                raise ParameterError(f"{text!r}: the lower end comes first")
            ranges[name] = Range(low, high, ranges[name].whole)
    if not ranges:
        raise ParameterError(f"none of the parameters is a threshold; name some to vary: {', '.join(numbers)}")
    return ranges


def values_of(parameters: Mapping[str, Any], names: Sequence[str] | Mapping[str, Any]) -> dict[str, float]:
    """The parameters' own values of these dotted names."""
    numbers = dict(_numbers(parameters))
    return {name: numbers[name] for name in names}


def with_values(parameters: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """A copy of the parameters, nested tables included, with these dotted names changed."""

    def changed(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            key: changed(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else values.get(f"{prefix}{key}", value)
            for key, value in table.items()
        }

    return changed(parameters, "")


def split(photos: Sequence[AnnotatedPhoto], held_out: float) -> tuple[list[AnnotatedPhoto], list[AnnotatedPhoto]]:
    """The photos to search on, and the share ``held_out`` of them, chosen by chance but always the same."""
    by_chance = sorted(photos, key=lambda photo: sha256(photo.name.encode()).digest())
    aside = round(len(photos) * held_out)
    return by_chance[aside:], by_chance[:aside]


def count(bench: Bench, photos: Sequence[AnnotatedPhoto], values: Values, judge: Judge) -> Errors:
    """Mistakes of the detector with these values, at its own threshold.

    Raises:
        InputError, OSError: a photo cannot be used.
    """
    detector = bench.detector(with_values(bench.entry.parameters, values))

    def look(photo: AnnotatedPhoto) -> tuple[int, int]:
        found = find(detector, bench.open(photo.path.read_bytes()), detector.default_threshold)
        wrong = mistakes(photo.match(found.boxes, judge.overlap), photo.matters(judge.min_width))
        return len(wrong.missed), len(wrong.false)

    with ThreadPoolExecutor(granted_cpus()) as pool:
        each = list(pool.map(look, photos))
    faces = sum(int(photo.matters(judge.min_width).sum()) for photo in photos)
    return Errors(sum(one for one, _ in each), sum(one for _, one in each), faces)


def idle(bench: Bench, photos: Sequence[AnnotatedPhoto], ranges: Mapping[str, Range]) -> list[str]:
    """The names that change nothing: at both ends of their range the photos show the same boxes as before.

    Searching such a parameter is searching in vain; a tool that does it without a word hides a mistake.
    """

    def seen(parameters: Mapping[str, Any]) -> list[Any]:
        detector = bench.detector(parameters)
        found = [find(detector, bench.open(photo.path.read_bytes()), detector.default_threshold) for photo in photos]
        return [np.round(each.boxes, 1).tolist() for each in found]

    before = seen(bench.entry.parameters)
    return [
        name
        for name, each in ranges.items()
        if all(seen(with_values(bench.entry.parameters, {name: end})) == before for end in (each.low, each.high))
    ]


def write_entry(entry: Entry, values: Values, folder: Path, told: Sequence[str]) -> str:
    """Write ``optimised.toml`` into the folder: the entry under another name, with these values.

    It names the same networks, so that nothing is fetched again. ``told`` are lines of comment. Returns the name.

    Raises:
        ConfigurationError: the extra ``tools`` is not installed.
    """
    with tools_extra():
        import tomli_w
    name = f"{entry.name.removesuffix('-optimised')}-optimised"
    table = entry.model_dump(mode="json", exclude={"folder", "parameters", "files"}, exclude_none=True)
    table |= {
        "name": name,
        "parameters": _plain(with_values(entry.parameters, values)),
        "files": {
            key: file.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
            for key, file in entry.files.items()
        },
    }
    table["input"] = {key: value for key, value in table["input"].items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    comment = "".join(f"# {line}\n" for line in told)
    (folder / "optimised.toml").write_text(comment + tomli_w.dumps({"model": [table]}), encoding="utf-8")
    return name


def write_report(
    outcome: Outcome, detector: str, environment: Sequence[str], folder: Path, asked: Sequence[tuple[str, str]]
) -> Path:
    """Draw the plots and write ``report.html`` into the folder; returns its path."""
    errors = [each for _, each in outcome.trials]
    tried = {name: [values[name] for values, _ in outcome.trials] for name in outcome.best}
    before, after = outcome.searched
    aside_before, aside_after = outcome.held_out
    history = plots.save(plots.search_history(errors, before.total), folder, "history")
    slices = plots.save(plots.search_slices(tried, errors, outcome.best), folder, "parameters")
    report = Report(
        title="Detector parameters",
        lead=f"{len(errors)} sets of parameters of {detector} were tried on photos with {before.faces} known faces; "
        f"photos with {aside_before.faces} more were held out.",
        facts=[
            (f"{before.total} → {after.total}", "errors on the photos searched on"),
            (f"{aside_before.total} → {aside_after.total}", "errors on those held out"),
            (str(len(errors)), "trials"),
        ],
        sections=[
            Section(
                "Before and after",
                "The search saw only the first photos. If the errors on those held out do not fall too, what was found "
                "suits those photos and no others.",
                table=Table(
                    ["photos", "faces", "missed before", "after", "false before", "after"],
                    [
                        ["searched on", *_errors_row(before, after)],
                        ["held out", *_errors_row(aside_before, aside_after)],
                    ],
                ),
            ),
            Section(
                "The values",
                "To use them: " + "  ".join(environment),
                table=Table(
                    ["parameter", "catalogue", "found"],
                    [[name, f"{outcome.before[name]:.4g}", f"{outcome.best[name]:.4g}"] for name in outcome.best],
                ),
            ),
            Section("Errors of every trial", plot=history),
            Section("Errors by parameter", "The line is the value that was found.", plot=slices),
        ],
        asked=asked,
    )
    path = folder / "report.html"
    report.write(path)
    return path


def _errors_row(before: Errors, after: Errors) -> list[str]:
    return [str(each) for each in (before.faces, before.missed, after.missed, before.false, after.false)]


def _numbers(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, value


def _around(value: float) -> Range:
    if isinstance(value, int):
        return Range(max(1, value // 2), max(2, value * 2), whole=True)
    return Range(0.05, 0.99, whole=False) if 0 < value < 1 else Range(value / 2, value * 2, whole=False)


def _plain(value: Any) -> Any:
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, Mapping) else value
