"""What the page shows of the results, in the order and the words in which it shows it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from mlcore.judging.claims import CLAIM_VERDICTS, GIVEN
from mlcore.judging.numbers import VERDICTS
from mlcore.judging.parts import GROUPS, group_of
from mlcore.pipeline.dvc_yaml import Stage
from mlcore.report.strips import Strip, strip

INITS = ["zero", "random", "normal"]
ORDER = [*INITS, "sigmoid", "logistic", "tanh", "relu", "leaky_relu", "identity"]
"""Of initialisations and activations."""

WORDS = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "learning_rate_init": "learning rate"}

WORDS_OF_CLAIMS = (*CLAIM_VERDICTS, *VERDICTS, GIVEN)

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
    sensitivity: Mapping[str, Any],
    stages: Sequence[Stage],
    times: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what the page's template takes of the results.

    Of what the stages verdict and sensitivity wrote, the pipeline, and benchmarks/repro.json.
    """
    numbers = in_order(verdict["by_number"])
    return {
        "counts": {
            kind: {word: counts[word] for word in VERDICTS}
            for kind, counts in verdict["numbers"].items()
        },
        "claim_counts": {w: n for w in WORDS_OF_CLAIMS if (n := verdict["claims"].get(w, 0))},
        "joint": verdict["joint"],
        "protocols": verdict["protocols"],
        "discrepancies": verdict["discrepancies"],
        "coverage": verdict["coverage"],
        "rules_sha256": verdict["rules_sha256"],
        "numbers": numbers,
        "by_path": verdict["by_number"],
        "claims": by_section(verdict["by_claim"].values()),
        "choices": choices(sensitivity, verdict["by_number"]),
        "stages": timed(stages, times["stages"]),
        "times": times,
        "data": verdict,
    }


def by_section(claims: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Give the claims of each section of the report, in the report's order."""
    ordered = sorted(claims, key=lambda claim: (claim["id"][:1], len(claim["id"]), claim["id"]))
    told = [{**c, "words": Counter(c["verdicts"].values()).most_common()} for c in ordered]
    return [(section, list(rows)) for section, rows in groupby(told, itemgetter("section"))]


def name_of(path: str) -> str:
    """Name a number in words: "MNIST, test accuracy: tanh, normal"."""
    group = group_of(path)
    if group is None:
        return path
    rest = path.removeprefix(group.path).strip(".")
    words = ", ".join(WORDS.get(word, word.replace("_", " ")) for word in rest.split(".") if word)
    return f"{group.name}: {words}" if words else group.name


def in_order(numbers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the numbers in the study's order, each with its name and the strip of its seeds."""

    def position(path: str) -> list[int]:
        group = group_of(path)
        first = GROUPS.index(group) if group else len(GROUPS)
        return [first, *(ORDER.index(word) for word in path.split(".") if word in ORDER)]

    return [
        {**numbers[path], "name": name_of(path), "strip": strip_of(numbers[path])}
        for path in sorted(numbers, key=position)
    ]


def strip_of(number: Mapping[str, Any]) -> Strip | None:
    """Give the strip of a number's seeds; None if there are none, or it is a word."""
    if not number["values"] or not isinstance(number["published"], int | float):
        return None
    return strip(number["values"], number["published"], number["ours"], number["interval"],
                 number["tolerance"] or 0.0)  # fmt: skip


def choices(
    sensitivity: Mapping[str, Any], numbers: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give the choices that were made otherwise, each with the numbers that it moves.

    Of what `stages.sensitivity` wrote, and the verdicts by path.
    """
    values, by_choice = defaultdict[tuple[str, str], list[float]](list), defaultdict[str, Any](list)
    for row in sensitivity["alternatives"]:
        values[row["choice"], row["number"]].append(row["mean"])
    for row in sensitivity["printed_values"]:
        choice, path = row["choice"], row["number"]
        tolerance = numbers[path]["tolerance"] or 0.0
        picture = strip(values[choice, path], row["published"], row["default"],
                        tolerance=tolerance, what="alternatives")  # fmt: skip
        by_choice[choice].append({**row, "name": name_of(path), "strip": picture})
    order = [*CHOICES, *sorted(set(by_choice) - set(CHOICES))]
    return [
        {"title": CHOICES.get(choice, choice), "numbers": by_choice[choice]}
        for choice in order
        if choice in by_choice
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
