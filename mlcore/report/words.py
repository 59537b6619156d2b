"""How numbers and their names are written."""

import json
from typing import Any

from mlcore.study.parts import GROUPS, group_of

ORDER = ("zero", "random", "normal", "sigmoid", "logistic", "tanh", "relu", "leaky_relu",
         "identity")  # fmt: skip
"""Of initialisations and activations in the study."""

WORDS = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "learning_rate_init": "learning rate"}

SPELLED = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve")  # fmt: skip


def spelled(n: int) -> str:
    """Write a count as a word, if it is small."""
    return SPELLED[n] if n < len(SPELLED) else str(n)


def capital(text: str) -> str:
    """Begin a sentence; str.capitalize would make "Relu" of "ReLU"."""
    return f"{text[:1].upper()}{text[1:]}"


def amount(n: int, noun: str) -> str:
    """Write a count with its noun: "no numbers", "one claim", "13 numbers"."""
    return f"{spelled(n) if n else 'no'} {noun}{'' if n == 1 else 's'}"


def agreeing(n: int, verb: str) -> str:
    """Put a verb in the singular for one or none: "lies" for "lie"."""
    return {"are": "is", "do": "does"}.get(verb, f"{verb}s") if n < 2 else verb


def name_of(path: str) -> str:
    """Name a number in words: "MNIST, test accuracy: tanh, normal"."""
    group = group_of(path)
    if group is None:  # of another study
        return path.replace("_", " ").replace(".", ", ")
    rest = path.removeprefix(group.path).strip(".")
    words = ", ".join(WORDS.get(word, word.replace("_", " ")) for word in rest.split(".") if word)
    return f"{group.name}: {words}" if words else group.name


def position(path: str) -> list[int]:
    """Give a number's place in the study's order."""
    group = group_of(path)
    if group is None:  # of another study: all alike
        return []
    return [GROUPS.index(group), *(ORDER.index(word) for word in path.split(".") if word in ORDER)]


def percent(path: str) -> bool:
    """Whether a number is written in per cent: accuracies of trained models are."""
    group = group_of(path)
    return group is not None and group.per_cent


def shown(path: str, value: Any, *, sign: bool = False) -> str:
    """Write a number as the page has it: accuracies in per cent, with two digits.

    A difference gets its `sign`, and is in points where the number is in per cent.
    """
    if not percent(path) or not isinstance(value, int | float):
        return plain(value, sign=sign)
    text = f"{100 * value:{'+' if sign else ''}.2f}"
    return f"{signed(text)} {'points' if sign else '%'}"


def plain(value: Any, *, sign: bool = False) -> str:
    """Write a number as it is read: four digits after the point, none of a whole number."""
    if value is None:
        return "\N{EN DASH}"
    if not isinstance(value, int | float):
        return str(value)
    kind = "g" if float(value).is_integer() else ".4f"
    return signed(f"{value:{'+' if sign else ''}{kind}}")


def short(value: float) -> str:
    """Write a number with five digits at most, none of them a closing zero."""
    return signed(f"{value:.5g}")


def hydra(value: Any) -> str:
    """Write a parameter's value as it is typed in an override."""
    return json.dumps(value, separators=(",", ":")).replace('"', "")


def signed(number: str) -> str:
    """Write a number with a minus sign that is as wide as a plus."""
    return number.replace("-", "\N{MINUS SIGN}")
