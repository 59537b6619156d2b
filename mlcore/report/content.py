"""What the page shows of the results, in the order and the words in which it shows it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeAlias

import pandas as pd

from mlcore.judging.claims import GIVEN, WORDS_OF_CLAIMS
from mlcore.judging.numbers import VERDICTS
from mlcore.judging.statistics import rank
from mlcore.pipeline.dvc_yaml import Stage
from mlcore.report import findings
from mlcore.report.strips import Strip, difference_strip, strip
from mlcore.report.words import WORDS, capital, hydra, name_of, position, shown

Shown: TypeAlias = Callable[..., str]

SEVERITY = (
    "not reproduced", "refuted", "differs, immaterially", "undecided", "not testable", "consistent",
    "reproduced", "supported", "exact", GIVEN,
)  # fmt: skip
"""Verdicts, what a reader wants to see first coming first."""

CHOICES = {
    "stopping": "When a training of the grid ends: patience of 10 or 20, last or best weights",
    "early-stopping": "Ten epochs of patience, as the option of the study's code has it",
    "he": "He's own initialisation in place of the study's normal one",
    "normal-zero-biases": "Normal init with biases of zero",
    "random-zero-biases": "Random init with biases of zero",
    "random-scale": "Random weights of tanh that are 10 and 100 times as large",
    "zero-broken": "Zero weights with normal biases",
    "sigmoid-random-rate": "Sigmoid with random init: higher learning rates",
    "sigmoid-normal-rate": "Sigmoid with normal init: a higher learning rate",
    "float64-network": "Double precision: the network",
    "unscaled": "Pixels that are not scaled",
    "one-model-90": "One model for losses and accuracies, on 90 % of the images",
    "one-model-80": "One model for losses and accuracies, on 80 % of the images",
    "partial-fit-80": "The losses' model on 80 % of the images",
    "warm-start": "A fit for each epoch, with a new adam",
    "not-pooled": "Training and test images drawn from a file each",
    "float64-classifier": "Double precision: the classifier",
    "float64-search": "Double precision: the search",
    "tanh-autoencoder": "An autoencoder with tanh",
    "autoencoder-longer": "Autoencoders that train for 200 epochs",
    "code-layer": "The code as the output of the last hidden layer",
    "other-codes": "Principal components and random projections in place of codes",
    "float64-autoencoder": "Double precision: autoencoder and code",
}
"""Sweeps of sweeps/sensitivity.yaml, with what each asks; in the study's order."""


def of_page(
    verdict: Mapping[str, Any],
    sensitivity: Sequence[Mapping[str, Any]],
    stages: Sequence[Stage],
    times: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what the templates of page and REPORT.md take of the results.

    Of what the stages verdict and sensitivity wrote, the pipeline, and benchmarks/repro.json.
    """
    numbers = in_order(verdict, sensitivity)
    claims = sorted(verdict["by_claim"].values(), key=lambda c: (c["id"][0], int(c["id"][1:])))
    return {
        "title": findings.title(verdict),
        "summary": findings.summary(verdict),
        "findings": findings,
        "verdict": verdict,
        "counts": {
            kind: {word: counts[word] for word in VERDICTS if counts[word]}
            for kind, counts in verdict["numbers"].items()
        },
        "claim_counts": {w: n for w in WORDS_OF_CLAIMS if (n := verdict["claims"].get(w, 0))},
        "numbers": numbers,
        "by_severity": by_severity(numbers),
        "claims": by_severity(map(told, claims)),
        "choices": choices(sensitivity, verdict["by_number"]),
        "stages": timed(stages, times["stages"]),
        "times": times,
        "n_runs": n_runs(verdict),
        "protocol_rows": [row for joint in verdict["joint"].values() for row in joint["protocols"]],
    }


def n_runs(verdict: Mapping[str, Any]) -> dict[str, str]:
    """Give by beginning of their paths how many runs trained numbers rest on: "10 to 20"."""
    runs = defaultdict[str, set[int]](set)
    for path, number in verdict["by_number"].items():
        if number["kind"] == "trained":
            runs[path.partition(".")[0]].add(number["n"])
    return {part: " to ".join(map(str, sorted({min(n), max(n)}))) for part, n in runs.items()}


def by_severity(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put those first that a reader wants to see first; else they stay in their order."""
    return sorted(entries, key=lambda entry: SEVERITY.index(entry["verdict"]))


def told(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Give a claim with what its panel shows."""
    statements = [dict(s) for s in claim["statements"]]
    for s in statements:
        s["strip"] = s["interval"] and difference_strip(s["difference"], s["interval"], s["margin"])
    decisive = (s for s in statements if s["verdict"] == claim["verdict"] != "supported")
    return {
        **claim,
        "statements": statements,
        "turns": findings.turns(claim),
        "decisive": next(decisive, None),
        "words": findings.counted(claim["verdicts"].values()),
    }


def in_order(
    verdict: Mapping[str, Any], sensitivity: Sequence[Mapping[str, Any]], shown: Shown = shown
) -> list[dict[str, Any]]:
    """Give the numbers in the study's order, each with what its row and panel show.

    `shown` writes a value, given the path of its number.
    """
    numbers = verdict["by_number"]
    nearest = nearest_alternatives(sensitivity)
    return [
        {
            **numbers[path],
            "mean": mean_of(numbers[path]),
            "name": name_of(path),
            "strip": strip_of(numbers[path]),
            "why": why(numbers[path], verdict["joint"], nearest.get(path), shown, verdict["level"]),
            "overrides": overrides(numbers[path].get("provenance", {}).get("params", {})),
        }
        for path in sorted(numbers, key=position)
    ]


def mean_of(number: Mapping[str, Any]) -> Any:
    """Give the mean of our runs, also of few; where none was repeated, the pipeline's."""
    if number["of_sd"]:
        return number["sd"]
    if number["mean"] is not None:
        return number["mean"]
    return fmean(number["values"]) if number["values"] else number["ours"]


def overrides(params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write parameters as overrides that Hydra takes."""
    return [f"{s}.{key}={hydra(v)}" for s, values in params.items() for key, v in values.items()]


def nearest_alternatives(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Give for each number the alternative that comes nearest to it, of those nearer than ours."""
    nearest: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: abs(row["mean"] - row["published"])):
        if row["nearer"]:
            nearest.setdefault(row["number"], row)
    return nearest


def why(
    number: Mapping[str, Any],
    joint: Mapping[str, Any],
    nearest: Mapping[str, Any] | None,
    shown: Shown = shown,
    level: float = 0.95,
) -> list[str]:
    """Say in sentences what a number's verdict rests on; `level` is that of its interval."""
    path, sentences = number["path"], [f"{capital(number['reason'])}."]
    if number["interval"] and number["by_runs"] is None and not number["of_sd"]:
        sentences = beside_interval(number, shown, level)
    if number["z"] is not None:
        side = "above" if number["z"] > 0 else "below"
        sentences.append(
            f"It lies {abs(number['z']):.1f} standard errors {side} the mean of our {number['n']} "
            f"runs (p = {number['p']:.2g})."
        )
        if number["rank"]:
            sentences[-1] += f" Its rank among them, from below, is {number['rank']}."
    if number["spread"] == "pooled":
        sentences.append("Its spread is estimated together with that of similar numbers.")
    sentences += contrasts(path, joint, shown)
    if nearest and number["verdict"] not in ("exact", "reproduced"):
        choice = CHOICES.get(nearest["choice"], nearest["choice"])
        sentences.append(
            f"The alternative that comes nearest gives {shown(path, nearest['mean'])}: "
            f"{choice[:1].lower()}{choice[1:]} ({nearest['alternative']})."
        )
    return sentences


def beside_interval(number: Mapping[str, Any], shown: Shown, level: float) -> list[str]:
    """Say where a printed number lies beside its interval, and what that could have shown."""
    path, k, (low, high) = number["path"], number["printed_runs"], number["interval"]
    inside = "inside" if number["verdict"] in ("reproduced", "consistent") else "outside"
    printed = f"{shown(path, number['published'])} is printed, {inside}."
    further = "further runs" if k == 1 else f"means of {k} further runs"
    told, to = f"At least {100 * level:g} of 100 {further} would lie between", "and"
    if number["spread"] == "range":
        told, to = f"Our {number['n']} runs give", "to"
    sentences = [f"{told} {shown(path, low)} {to} {shown(path, high)}; {printed}"]
    if number["resolution"]:
        resolution = shown(path, number["resolution"], sign=True).lstrip("+")
        those = "One printed run" if k == 1 else f"The mean of {k} printed runs"
        sentences.append(f"{those} could show no departure below {resolution}.")
    return sentences


def contrasts(path: str, joint: Mapping[str, Any], shown: Shown) -> list[str]:
    """Say how a number's differences to others depart, where our runs hardly give them."""
    metric, _, name = path.rpartition(".")
    return [
        f"{' less '.join(WORDS.get(c[k], c[k]) for k in ('first', 'second'))} is printed as "
        f"{shown(path, c['published'], sign=True)}; our runs, seed by seed, give "
        f"{' to '.join(shown(path, end, sign=True) for end in c['interval'])} "
        f"(p = {c['p']:.2g})."
        for of_section in joint.values()
        for c in of_section["contrasts"]
        if c["metric"] == metric and name in (c["first"], c["second"])
        if c["p"] is not None and c["p"] < 0.05
    ]


def strip_of(number: Mapping[str, Any]) -> Strip | None:
    """Give the strip of a number's runs; None if there are none, or it is a word."""
    if not number["values"] or not isinstance(number["published"], int | float):
        return None
    return strip(number["values"], number["published"], number["ours"], number["interval"],
                 number["tolerance"] or 0.0)  # fmt: skip


def choices(
    sensitivity: Sequence[Mapping[str, Any]], numbers: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give the choices that were made otherwise, each with the numbers that it moves.

    Of what `stages.sensitivity` wrote, and the verdicts by path.
    """
    by_number = defaultdict[Any, list[Any]](list)
    for row in sensitivity:
        if row["default"] is not None:  # else it has no replicates yet
            by_number[row["choice"], row["number"]].append(row)
    by_choice = defaultdict[str, list[Any]](list)
    for (choice, path), rows in by_number.items():
        printed, default, number = rows[0]["published"], rows[0]["default"], numbers[path]
        means, tolerance = [row["mean"] for row in rows], number["tolerance"] or 0.0
        by_choice[choice].append(
            {
                "path": path,
                "name": name_of(path),
                "published": printed,
                "default": default,
                "lowest": min(means),
                "highest": max(means),
                "rank": rank(pd.Series(means), printed, number["decimals"]),
                "strip": strip(means, printed, default, tolerance=tolerance, what="alternatives"),
                "moved": any(abs(mean - default) > tolerance for mean in means),
            }
        )
    order = [name for name in CHOICES if name in by_choice]
    order += sorted(set(by_choice) - set(CHOICES))
    return [
        {
            "title": CHOICES.get(choice, choice),
            "numbers": by_choice[choice],
            "n_moved": sum(row["moved"] for row in by_choice[choice]),
        }
        for choice in order
    ]


def timed(outline: Sequence[Stage], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Give the pipeline's stages, each with how many "runs" it had and their "seconds" together.

    `seconds` are by stage as DVC names it: ``name``, or ``name@item`` for each item of a matrix.
    """
    taken = defaultdict[str, list[float]](list)
    for name, value in seconds.items():
        taken[name.partition("@")[0]].append(value)
    return [
        {**vars(stage), "runs": len(taken[stage.name]), "seconds": sum(taken[stage.name])}
        for stage in outline
    ]
