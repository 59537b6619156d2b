"""What was found, in sentences computed from the verdict: for page, REPORT.md and prompt."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlcore.judging.numbers import VERDICTS
from mlcore.report.words import amount, name_of, percent, plain, shown, spelled

Verdict = Mapping[str, Any]
"""What the stage verdict wrote: metrics/verdict.json."""


def title(verdict: Verdict) -> str:
    """Say in a line what came out."""
    trained = verdict["numbers"]["trained"]
    refuted, tested = verdict["claims"].get("refuted", 0), n_tested(verdict)
    claims = f"{refuted} of its {tested} claims"
    if bad := trained["not reproduced"]:
        numbers = amount(bad, "number")
        of_all = f"{numbers} of the study's {sum(trained.values())} {_do(bad)} not come out again"
        return f"{of_all}; {claims} {_do(refuted)} not hold"
    return f"None of the study's numbers is contradicted; {claims} are"


def summary(verdict: Verdict) -> list[str]:
    """Say in three sentences what came out again, what did not, and what cannot be known."""
    return [_came_out(verdict), _did_not(verdict), _unknown(verdict)]


def n_tested(verdict: Verdict) -> int:
    """Count the claims that runs can test."""
    return sum(verdict["claims"].get(word, 0) for word in ("supported", "refuted", "undecided"))


def _do(n: int) -> str:
    return "does" if n == 1 else "do"


def _came_out(verdict: Verdict) -> str:
    trained, by_hand = verdict["numbers"]["trained"], verdict["numbers"]["arithmetic"]
    inside = trained["reproduced"] + trained["consistent"]
    return (
        f"{spelled(trained['exact']).capitalize()} of {sum(trained.values())} numbers of trained "
        f"models, to the last digit: the author published the networks, and these give them on "
        f"our images. {spelled(inside).capitalize()} more lie where one more run of ours would, "
        f"{trained['reproduced']} of them within what would matter. Of {sum(by_hand.values())} "
        f"numbers worked by hand or counted {by_hand['exact']} are exact."
    )


def _did_not(verdict: Verdict) -> str:
    bad = _paths(verdict, "not reproduced")
    off = verdict["numbers"]["trained"]["differs, immaterially"]
    numbers = (
        f"Not reproduced: {', '.join(map(name_of, bad))}."
        if bad
        else "No number is contradicted, one by one or together."
    )
    if off:
        do = "differs" if off == 1 else "differ"
        numbers += f" {spelled(off).capitalize()} {do} by less than would matter."
    refuted = [c for c in verdict["by_claim"].values() if c["verdict"] == "refuted"]
    if not refuted:
        return f"{numbers} No claim is refuted."
    (section, most), *_ = Counter(c["section"] for c in refuted).most_common()
    return (
        f"{numbers} What runs contradict is in the words: {amount(len(refuted), 'claim')} of "
        f"{n_tested(verdict)}, {most} of them in section {section}."
    )


def _unknown(verdict: Verdict) -> str:
    loose = [
        n for n in verdict["by_number"].values() if n["verdict"] == "consistent" and n["resolution"]
    ]
    open_numbers = verdict["numbers"]["trained"]["not testable"]
    undecided = verdict["claims"].get("undecided", 0)
    parts = []
    if loose:
        points = [100 * n["resolution"] for n in loose if percent(n["path"])]
        parts.append(
            f"One printed run says little: {amount(len(loose), 'number')} would have had to be off "
            f"by {min(points):.1f} to {max(points):.1f} points of accuracy, or as much in the "
            "losses, before we could have noticed."
        )
    open_ones = [f"{amount(open_numbers, 'number')}"] if open_numbers else []
    open_ones += [f"{amount(undecided, 'claim')}"] if undecided else []
    if open_ones:
        parts.append(
            f"Open {'is' if open_numbers + undecided == 1 else 'are'} {' and '.join(open_ones)}."
        )
    return " ".join(parts)


def _paths(verdict: Verdict, word: str) -> list[str]:
    return [path for path, n in verdict["by_number"].items() if n["verdict"] == word]


def of_numbers(verdict: Verdict, beginning: str) -> str:
    """Say how the numbers of a part stand: "12 exact; by our runs alone: 9 consistent"."""
    numbers = [
        n
        for path, n in verdict["by_number"].items()
        if path.startswith(beginning) and n["kind"] != "exact"
    ]
    what = amount(len(numbers), "number")
    told = f"{what[0].upper()}{what[1:]}: {counted(n['verdict'] for n in numbers)}"
    if by_runs := [n["by_runs"] for n in numbers if n["by_runs"]]:
        told += f"; by our runs alone {counted(by_runs)}"
    return f"{told}."


def counted(words: Iterable[str]) -> str:
    """Count verdicts, in their order of strength: "2 reproduced, 10 consistent"."""
    counts = Counter(words)
    told = [f"{counts[word]} {word.replace(', ', ' ')}" for word in VERDICTS if counts[word]]
    return ", ".join(told)


def together(verdict: Verdict, section: str) -> str:
    """Say where a section's numbers stand together among our own runs."""
    joint = verdict["joint"].get(section) or {}
    if not joint.get("rank"):
        return "There are too few runs to judge these numbers together."
    place, _, of = joint["rank"].partition(" of ")
    worse = int(of) - int(place)
    told = (
        f"Together the {joint['df']} numbers of section {section} depart from our runs as one of "
        f"our own runs does: {worse} of {int(of) - 1} depart more"
        if worse
        else f"Together the {joint['df']} numbers of section {section} depart from our runs more "
        f"than each of our {int(of) - 1} own runs does"
    )
    return f"{told} (chi-square {joint['chi2']:.1f}, p = {joint['p']:.2g})."


def surprises(verdict: Verdict, level: float = 0.01) -> list[str]:
    """Say which differences between activations are printed otherwise than our runs give them."""
    found = []
    for section, joint in verdict["joint"].items():
        for c in joint["contrasts"]:
            if c["p"] is None or c["p"] >= level:
                continue
            path = f"{c['metric']}.{c['first']}"
            found.append(
                f"Section {section}, {name_of(c['metric'])}: {name_of(path).split(': ')[-1]} less "
                f"{name_of(c['metric'] + '.' + c['second']).split(': ')[-1]} is printed as "
                f"{shown(path, c['published'], sign=True)}, our runs give "
                f"{shown(path, c['mean'], sign=True)} on average (p = {c['p']:.2g})."
            )
    return found


def protocols(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the printed numbers alone would have led."""
    run = [row for row in rows if row["p"] is not None]
    if len(run) < 2:
        return "Other protocols have not been run yet."
    excluded = [row["protocol"] for row in run if row["p"] < 0.05]
    fits = [row["protocol"] for row in run if row["p"] >= 0.05]
    told = f"Of {len(run)} protocols the printed numbers rule out {len(excluded)}"
    if excluded:
        told += f" ({'; '.join(excluded)})"
    rest = "one fits them" if len(fits) == 1 else f"{len(fits)} fit them"
    best = f', best of all "{run[0]["protocol"]}"' if fits else ""
    return f"{told}; {rest}{best}."


def discrepancies(points: Sequence[Mapping[str, Any]]) -> str:
    """Say how often report and code disagree, and how often that matters."""
    tested = [p for p in points if any(d["n"] > 2 for d in p["differences"])]
    moving = [p for p in tested if any(map(clear, p["differences"]))]
    return (
        f"Report and code disagree in {amount(len(points), 'point')}. Runs tell of "
        f"{len(tested)} what difference it makes: {len(moving)} of them move a number for sure."
    )


def clear(difference: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference leaves out zero."""
    return bool(difference["n"] > 2 and difference["interval"][0] * difference["interval"][1] > 0)


def lines(verdict: Verdict) -> list[str]:
    """Give the findings for the prompt."""
    return [title(verdict), *summary(verdict)]


def counted_inside(verdict: Verdict) -> str:
    """Say how many printed numbers lie outside the interval of one more run, and how many would."""
    coverage = verdict["coverage"]
    expected = round(coverage["expected_outside"])
    outside = coverage["outside"]
    return (
        f"Our runs give {coverage['n_intervals']} printed numbers an interval in which 95 of 100 "
        f"further runs would lie. {spelled(outside).capitalize() if outside else 'None'} of them "
        f"{'lies' if outside < 2 else 'lie'} outside; of as many runs of our own about "
        f"{spelled(expected)} would."
    )


def moved(differences: Sequence[Mapping[str, Any]]) -> str:
    """Say how many of the compared quantities surely differ, and which differ most."""
    sure = [d for d in differences if clear(d)]
    if not sure:
        return f"None of {len(differences)} differences is sure"
    greatest = max(sure, key=lambda d: abs(d["difference"]))
    return (
        f"{spelled(len(sure)).capitalize()} of {amount(len(differences), 'difference')} "
        f"{'is' if len(sure) == 1 else 'are'} sure, the greatest "
        f"{plain(greatest['left'])} against {plain(greatest['right'])}"
    )


COLLAPSED = 0.12
"""Test accuracy of a network that gives one class for all images of MNIST: at most this."""


def grid(verdict: Verdict) -> str:
    """Say which cells of the grid never learn, in print and in our runs."""
    beginning = "mnist_grid.test_accuracy."
    cells = {p: n for p, n in verdict["by_number"].items() if p.startswith(beginning)}
    printed = {path for path, n in cells.items() if n["published"] < COLLAPSED}
    ours = {path for path, n in cells.items() if n["ours"] < COLLAPSED}
    same = "the same ones" if printed == ours else f"{len(ours)}"
    return (
        f"{amount(len(printed), 'cell')} of {len(cells)} never learn in print, and {same} in ours."
    )


def choices(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many choices move a number by more than would matter."""
    moving = sum(bool(row["n_moved"]) for row in rows)
    return (
        f"{moving} of {amount(len(rows), 'choice')} that could have been made otherwise "
        f"{'moves' if moving == 1 else 'move'} a printed number by more than would matter."
    )


def claims(verdict: Verdict) -> str:
    """Say how the claims stand."""
    counts = verdict["claims"]
    return (
        f"The report says {len(verdict['by_claim'])} things. {n_tested(verdict)} are claims that "
        f"runs can test: {counts.get('supported', 0)} are supported, "
        f"{counts.get('refuted', 0)} refuted, {counts.get('undecided', 0)} undecided."
    )


def worked(by_path: Mapping[str, Any]) -> str:
    """Say how the numbers worked by hand stand."""
    words = [n["verdict"] for path, n in by_path.items() if path.startswith("worked_examples")]
    return (
        f"{amount(len(words), 'number')}: {counted(words)}. The network's own code computes them."
    )
