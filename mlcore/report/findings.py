"""What was found, in sentences computed from the verdict: for page, REPORT.md and prompt."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from scipy import stats

from mlcore.judging.claims import MIN_RUNS
from mlcore.judging.numbers import VERDICTS
from mlcore.report.words import agreeing, amount, capital, name_of, percent, shown, spelled

Verdict = Mapping[str, Any]
"""What the stage verdict wrote: metrics/verdict.json."""

SURE = 0.05
"""A printed difference is told if its p, times the number of differences (Bonferroni), is below."""

HEADINGS = ("What came out again.", "What did not.", "What is not known.")


def title(verdict: Verdict) -> str:
    """Say in a line what came out."""
    bad, n = len(not_reproduced(verdict)), len(verdict["by_number"])
    refuted, tested = verdict["claims"].get("refuted", 0), n_tested(verdict)
    if bad:
        numbers = f"{spelled(bad)} of the study's {n} numbers {agreeing(bad, 'do')}"
        claims = f"; {_of_its_claims(str(refuted), tested)} {agreeing(refuted, 'do')} not hold"
        return capital(f"{numbers} not come out again{claims if refuted else ''}")
    untested = all(n["verdict"] == "not testable" for n in verdict["by_number"].values())
    if untested and not tested:
        return "Too few runs to say anything yet"
    if not refuted:
        return "None of the study's numbers and claims is contradicted"
    claims = f"{_of_its_claims(spelled(refuted), tested)} {agreeing(refuted, 'are')}"
    return f"None of the study's numbers is contradicted; {claims}"


def _of_its_claims(n: str, tested: int) -> str:
    return f"{n} of its {tested} claims" if tested > 1 else "its one claim"


def summary(verdict: Verdict) -> list[str]:
    """Say what came out again, what did not, and what is not known."""
    return [" ".join(part) for part in (_came_out(verdict), _did_not(verdict), _unknown(verdict))]


def lines(verdict: Verdict) -> list[str]:
    """Give the findings for the prompt."""
    told = zip(HEADINGS, summary(verdict), strict=True)
    return [f"{title(verdict)}.", *(f"{heading} {sentences}" for heading, sentences in told)]


def n_tested(verdict: Verdict) -> int:
    """Count the claims that runs can test."""
    return sum(verdict["claims"].get(word, 0) for word in ("supported", "refuted", "undecided"))


def not_reproduced(verdict: Verdict) -> list[str]:
    """Give the paths of the numbers that do not come out again."""
    return [path for path, n in verdict["by_number"].items() if n["verdict"] == "not reproduced"]


def waiting(claim: Mapping[str, Any]) -> bool:
    """Whether a claim is undecided for want of runs."""
    undecided = [s for s in claim["statements"] if s["verdict"] == "undecided"]
    return claim["verdict"] == "undecided" and any(s["n"] < MIN_RUNS for s in undecided)


def _came_out(verdict: Verdict) -> list[str]:
    trained, by_hand = verdict["numbers"]["trained"], verdict["numbers"]["arithmetic"]
    told = []
    if exact := trained["exact"]:
        told.append(
            f"{spelled(exact)} of {sum(trained.values())} numbers of trained models "
            f"{agreeing(exact, 'come')} out to the last digit, from the study's own networks, "
            "which are public."
        )
    narrow = trained["reproduced"]
    if inside := narrow + trained["consistent"]:
        others = "others" if exact else f"of {sum(trained.values())} numbers of trained models"
        told.append(
            f"{spelled(inside)} {others} {agreeing(inside, 'lie')} inside the interval of one "
            f"further run of ours: {spelled(narrow)} in a narrow one (reproduced), "
            f"{spelled(inside - narrow)} in a wide one (consistent)."
        )
    if all_by_hand := sum(by_hand.values()):
        off = by_hand["differs, immaterially"]
        rest = f", {spelled(off)} {agreeing(off, 'are')} off by a rounding." if off else "."
        told.append(
            f"Of {all_by_hand} numbers worked by hand or counted {by_hand['exact']} are exact{rest}"
        )
    return list(map(capital, told)) or ["Nothing has been compared yet."]


def _did_not(verdict: Verdict) -> list[str]:
    bad = [_printed_and_ours(verdict["by_number"][path]) for path in not_reproduced(verdict)]
    told = [f"Not reproduced: {'; '.join(bad)}." if bad else "No number by itself."]
    if bad and (n := verdict["coverage"]["n_intervals"]):
        expected = verdict["coverage"]["expected_outside"]
        few = f"about {spelled(round(expected))}" if expected >= 0.5 else "fewer than one"
        told.append(f"Of {n} numbers with an interval {few} would lie outside by chance alone.")
    if off := verdict["numbers"]["trained"]["differs, immaterially"]:
        told.append(f"{spelled(off)} {agreeing(off, 'differ')} by less than would matter.")
    for section, joint in verdict["joint"].items():
        if joint.get("rank") and _last(joint["rank"]):
            told.append(f"All numbers of section {section} together: {_departs(joint)}.")
    told += surprises(verdict)
    refuted = [c for c in verdict["by_claim"].values() if c["verdict"] == "refuted"]
    if refuted:
        (section, most), *_ = Counter(c["section"] for c in refuted).most_common()
        n = len(refuted)
        told.append(
            f"{spelled(n)} of {n_tested(verdict)} claims {agreeing(n, 'are')} refuted, "
            f"{f'{spelled(most)} of them' if most < n else 'all'} in section {section}."
        )
        firm = [claim for claim in refuted if not turns(claim)]
        if examples := plainest(firm):
            told[-1] += f" {capital(spelled(len(firm)))} of the {spelled(n)}, such as"
            told[-1] += f" {' and '.join(examples)}, stay refuted wherever we drew the line for "
            told[-1] += 'words such as "slightly".'
    return list(map(capital, told))


def _printed_and_ours(number: Mapping[str, Any]) -> str:
    """Name a number, with what is printed and what our runs, or our arithmetic, give."""
    path, mean = number["path"], number["mean"]
    ours = shown(path, number["ours"]) if mean is None else f"{shown(path, mean)} on average"
    return f"{name_of(path)} (printed {shown(path, number['published'])}, ours {ours})"


def plainest(refuted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Tell the two shortest of the claims that none of at least six runs supports."""
    texts = [
        f"{claim['id']} ({claim['text'].rstrip('.')})"
        for claim in refuted
        if any(s["verdict"] == "refuted" and s["n"] >= 6 and not s["holds"]
               for s in claim["statements"])
    ]  # fmt: skip
    return sorted(texts, key=len)[:2]


def turns(claim: Mapping[str, Any]) -> bool:
    """Whether a claim that is decided gets another verdict by one of the other bounds."""
    others = {variant["verdict"] for variant in claim["variants"]}
    return claim["verdict"] in ("supported", "refuted") and bool(others - {claim["verdict"]})


def _unknown(verdict: Verdict) -> list[str]:
    numbers = verdict["by_number"].values()
    loose = [n for n in numbers if n["verdict"] == "consistent" and n["resolution"]]
    unseen = []
    for noun, plural in (("accuracy", "accuracies"), ("loss", "losses")):
        of_kind = [n for n in loose if percent(n["path"]) == (noun == "accuracy")]
        if of_kind:
            most = max(of_kind, key=itemgetter("resolution"))
            size = shown(most["path"], most["resolution"], sign=True).lstrip("+")
            nouns = noun if len(of_kind) == 1 else plural
            unseen.append(f"up to {size} in {spelled(len(of_kind))} {nouns}")
    told = []
    if unseen:
        told.append(
            "Our runs vary, so that a difference from the printed number could go unseen: "
            f"{', '.join(unseen)}."
        )
    wait = sum(map(waiting, verdict["by_claim"].values()))
    undecided = verdict["claims"].get("undecided", 0) - wait
    if not_testable := verdict["numbers"]["trained"]["not testable"]:
        told.append(f"{amount(not_testable, 'number')} cannot be judged by the runs there are.")
    if undecided:
        told.append(
            f"{amount(undecided, 'claim')} {agreeing(undecided, 'are')} undecided by our runs."
        )
    if wait:
        told.append(f"{amount(wait, 'claim')} {agreeing(wait, 'wait')} for more runs.")
    return list(map(capital, told)) or ["Nothing that was asked."]


def of_numbers(verdict: Verdict, beginning: str) -> str:
    """Say how the numbers of a part stand: "Twelve numbers: 12 exact; by our runs alone ..."."""
    of_part = [n for path, n in verdict["by_number"].items() if path.startswith(beginning)]
    numbers = [n for n in of_part if n["kind"] != "exact"]
    told = f"{spelled(len(numbers))} numbers: {counted(n['verdict'] for n in numbers)}"
    if by_runs := [n["by_runs"] for n in numbers if n["by_runs"]]:
        told += f"; by our runs alone {counted(by_runs)}"
    return capital(f"{told}.")


def counted(words: Iterable[str]) -> str:
    """Count verdicts, in their order of strength: "2 reproduced, 10 consistent"."""
    n = Counter(words)
    return ", ".join(f"{n[word]} {word.replace('differs,', 'off')}" for word in VERDICTS if n[word])


def _last(rank: str) -> bool:
    place, _, of = rank.partition(" of ")
    return place == of


def _chi2(joint: Mapping[str, Any]) -> str:
    return f"chi-square {joint['chi2']:.1f} on {joint['df']}, p = {joint['p']:.2g}"


def _departs(joint: Mapping[str, Any]) -> str:
    """Say how many of our runs depart more from the others than the printed numbers do."""
    place, of = map(int, joint["rank"].split(" of "))
    runs, more = of - 1, of - place
    told = (
        f"{more} of our {runs} own runs {agreeing(more, 'depart')} more from the rest than they do"
    )
    if not more:
        told = f"they depart from our runs more than each of our {runs} own runs does"
    return f"{told} ({_chi2(joint)})"


def together(verdict: Verdict, name: str, of: str = "section ") -> str:
    """Say where numbers stand together among our own runs: of a section, or named otherwise."""
    joint, named = verdict["joint"].get(name) or {}, f"{of}{name}".replace("_", " ")
    if joint.get("chi2") is None:
        return f"There are too few runs to judge the numbers of {named} together."
    told = _departs(joint) if joint["rank"] else _chi2(joint)
    return f"The {joint['df']} numbers of {named} together: {told}."


def surprises(verdict: Verdict) -> list[str]:
    """Say which differences between activations are printed otherwise than our runs give them.

    By Bonferroni's rule, as there are several.
    """
    found = []
    n = sum(c["p"] is not None for j in verdict["joint"].values() for c in j["contrasts"])
    for section, joint in verdict["joint"].items():
        for c in joint["contrasts"]:
            if c["p"] is None or n * c["p"] >= SURE:
                continue
            first, second = (f"{c['metric']}.{c[which]}" for which in ("first", "second"))
            one, other = (name_of(path).rpartition(": ")[2] for path in (first, second))
            found.append(
                f"One difference between numbers of section {section}: {name_of(c['metric'])}, "
                f"{one} less {other}, is printed as {shown(first, c['published'], sign=True)}; our "
                f"runs give {shown(first, c['mean'], sign=True)} on average (p = {c['p']:.2g}, "
                f"one of {n} differences)."
            )
    return found


def protocols(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the printed numbers alone would have led."""
    run = [row for row in rows if row["p"] is not None]
    if len(run) < 2:
        return "There are too few runs of other protocols yet."
    excluded = [row["protocol"] for row in run if row["p"] < 0.05 and _last(row["rank"])]
    told = f"Of {len(run)} protocols the printed numbers alone rule out "
    told += f"{spelled(len(excluded))}: {'; '.join(excluded)}." if excluded else "none."
    names, own = [row["protocol"] for row in run], "the study's code"
    if own in names:
        told += f" What {own} did comes {ORDINALS[names.index(own)]} of them."
    return told


ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def discrepancies(points: Sequence[Mapping[str, Any]]) -> str:
    """Say how often report and code disagree, and how often that matters."""
    tested = [p for p in points if any(d["n"] >= MIN_RUNS for d in p["differences"])]
    moving = [p for p in tested if sure(p["differences"])]
    told = f"Report and code disagree in {amount(len(points), 'point')}."
    if tested:
        told += (
            f" For {spelled(len(tested))} of them runs tell what difference it makes: "
            f"{spelled(len(moving))} {agreeing(len(moving), 'move')} a result for sure."
        )
    return told


def sure(differences: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give those of several differences of results that are not zero, allowing for their number.

    Their 95 % intervals are made wider, by Bonferroni's rule. Epochs are no result.
    """
    results = [d for d in _results(differences) if d["n"] >= MIN_RUNS]

    def clear(d: Mapping[str, Any]) -> bool:
        t95, t = (stats.t.ppf(1 - 0.025 / m, d["n"] - 1) for m in (1, len(results)))
        low, high = d["interval"]
        return bool(abs(d["difference"]) > (high - low) / 2 * t / t95)

    return [d for d in results if clear(d)]


def moved(differences: Sequence[Mapping[str, Any]]) -> str:
    """Say how many of the compared results surely differ."""
    n, results = len(sure(differences)), _results(differences)
    of_all = f"{spelled(n)} of {amount(len(results), 'difference')} {agreeing(n, 'are')} sure"
    epochs = "; epochs are not counted" if len(results) < len(differences) else ""
    return capital(f"{of_all}, allowing for how many they are{epochs}")


def _results(differences: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [d for d in differences if not d["text"].startswith("n_epochs")]


def counted_inside(verdict: Verdict) -> str:
    """Say how many printed numbers lie outside the interval of one more run, and how many would."""
    coverage = verdict["coverage"]
    outside, expected = coverage["outside"], coverage["expected_outside"]
    return (
        f"{capital(amount(coverage['n_intervals'], 'printed number'))} can be set beside an "
        f"interval that our runs give. {capital(spelled(outside))} "
        f"{agreeing(outside, 'lie')} outside. Of as many further runs "
        f"of ours at most {expected:.1f} would lie outside on average."
    )


COLLAPSED = 0.12
"""Test accuracy of a network that gives one class for all images of MNIST: at most this."""


def grid(verdict: Verdict) -> str:
    """Say which cells of the grid never learn, in print and in our runs."""
    by_path = verdict["by_number"]
    cells = [n for path, n in by_path.items() if path.startswith("mnist_grid.test_accuracy.")]
    run = [n for n in cells if n["ours"] is not None]
    printed, ours = ([n["path"] for n in run if n[of] < COLLAPSED] for of in ("published", "ours"))
    same = "the same in ours" if printed == ours else f"{spelled(len(ours))} in ours"
    return capital(f"{spelled(len(printed))} of {len(run)} cells never learn in print, {same}.")


def choices(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many choices move a number by more than would matter."""
    moving = sum(bool(row["n_moved"]) for row in rows)
    if not rows:
        return "Other choices have not been run yet."
    return capital(
        f"{spelled(moving)} of {amount(len(rows), 'other choice')} "
        f"{agreeing(moving, 'move')} a printed number by more than would matter."
    )


def claims(verdict: Verdict) -> str:
    """Say how the claims stand."""
    counts, wait = verdict["claims"], sum(map(waiting, verdict["by_claim"].values()))
    decided = f"{counts.get('supported', 0)} supported, {counts.get('refuted', 0)} refuted"
    undecided = counts.get("undecided", 0)
    return (
        f"The report says {len(verdict['by_claim'])} things. {n_tested(verdict)} are claims that "
        f"runs can test: {decided}, {undecided} undecided"
        + (f" ({wait} of these for want of runs)." if wait else ".")
    )


def worked(by_path: Mapping[str, Any]) -> str:
    """Say how the numbers worked by hand stand."""
    words = [n["verdict"] for path, n in by_path.items() if path.startswith("worked_examples")]
    return f"{capital(amount(len(words), 'number'))}: {counted(words)}."
