"""The README: its numbers are those of the committed run, its commands and code work."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mlcore.claims import CLAIMS
from mlcore.config import compose

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SUMMARY = json.loads((ROOT / "metrics" / "summary.json").read_text())

NAMES = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}


def pair(figure, scale=100, digits=2):
    return " / ".join(f"{scale * figure[key]:.{digits}f}" for key in ("ours", "published"))


def grid_rows():
    for activation, row in SUMMARY["mnist_grid"]["test_accuracy"].items():
        cells = " | ".join(pair(row[init]) for init in ("zero", "random", "normal"))
        yield f"| {NAMES.get(activation, activation)} | {cells} |"


def fashion_rows():
    classifier = SUMMARY["fashion_classifier"]
    for activation, accuracy in classifier["test_accuracy"].items():
        losses = [pair(classifier[f"{part}_loss"][activation], 1, 4) for part in ("val", "test")]
        name = NAMES.get(activation, activation)
        yield f"| {name} | {pair(accuracy)} | {losses[0]} | {losses[1]} |"
    probe = SUMMARY["bottleneck_probe"]
    for activation, accuracy in probe["test_accuracy"].items():
        name = NAMES.get(activation, activation)
        train = pair(probe["train_accuracy"][activation], digits=1)
        yield f"| {name} | {train} | {pair(accuracy, digits=1)} |"


@pytest.mark.parametrize("row", [*grid_rows(), *fashion_rows()])
def test_every_row_of_the_results_is_that_of_the_run(row):
    assert row in README


def test_the_searchs_result_is_that_of_the_run():
    found = {name: value["ours"] for name, value in SUMMARY["fashion_search"]["best"].items()}
    sentence = (
        f"{found['solver']}, rate {found['learning_rate_init']:g}, batch {found['batch_size']}"
    )
    assert sentence in README
    assert f"{pair(SUMMARY['fashion_search']['cv_accuracy'])} %" in README


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("command", ["dvc metrics show"])
def test_output_that_is_shown_is_the_commands_own(command):
    (shown,) = [block for block in blocks("text") if block.startswith(f"$ {command}\n")]
    real = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split() for line in shown.splitlines()[1:]] == [
        line.split() for line in real.stdout.splitlines()
    ]


def commands():
    lines = "".join(blocks("sh")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


def test_every_make_target_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {word for words in commands() if words[0] == "make" for word in words[1:]}
    assert named
    assert named <= set(targets)


def test_every_override_is_accepted():
    overrides = [
        word
        for words in commands()
        for word in words
        if re.match(r"[a-z_.]+=", word) and not word.startswith(("hydra", "JOBS"))
    ]
    assert len(overrides) >= 5
    for override in overrides:
        key, _, value = override.partition("=")
        first = value if value.startswith("[") else value.split(",")[0]
        compose(ROOT / "conf", [f"{key}={'0' if first.startswith('range') else first}"])


def test_the_example_trains(capsys):
    (code,) = blocks("python")
    exec(code, {})
    assert float(capsys.readouterr().out) > 0.95


def verdict_paragraph():
    """What the first screen says, from the committed verdict."""
    verdict = json.loads((ROOT / "metrics" / "verdict.json").read_text())
    exact, trained = verdict["figures"]["exact"], verdict["figures"]["trained"]
    claims, coverage = verdict["claims"], verdict["coverage"]
    not_reproduced = [
        f"`{path.split('.', 1)[1]}`"
        for path, figure in verdict["by_figure"].items()
        if figure["verdict"] == "not reproduced"
    ]
    named = f" ({', '.join(not_reproduced)})" if not_reproduced else ""
    lines = [
        f"**The verdict.** The study's {sum(trained.values())} figures of trained models: "
        f"{trained['reproduced']} reproduced, "
        f"{trained['compatible, too noisy to tell']} compatible but too noisy to tell, "
        f"{trained['differs, immaterially']} differing immaterially, "
        f"{trained['not reproduced']} not reproduced{named}, "
        f"{trained['not testable']} not testable. "
        f"Of {coverage['n_intervals']} intervals {coverage['outside']} miss the printed value; "
        f"if all were true, {coverage['expected_outside']:g} would. "
        f"Its {sum(exact.values())} figures worked by hand or counted: {exact['reproduced']} "
        f"reproduced, {exact['differs, immaterially']} off by its own rounding. "
        f"Its {sum(claims.values())} claims: {claims['supported']} supported, "
        f"{claims['refuted']} refuted, {claims['undecided']} undecided:",
        "",
        "| claim | |",
        "|---|---|",
        *(
            f"| {claim['text'].rstrip('.')} | {claim['verdict']} |"
            for claim in sorted(
                (verdict["by_claim"][name] for name in CLAIMS), key=lambda c: ORDER[c["verdict"]]
            )
        ),
        "",
        "`metrics/verdict.json` has for each its interval, its evidence and what speaks against "
        "it, and the one command that computes it again.",
    ]
    return "\n".join(lines)


ORDER = {"supported": 0, "undecided": 1, "refuted": 2}


def test_the_verdict_is_that_of_the_results():
    told = README.partition("<!-- verdict -->\n")[2].partition("\n<!-- /verdict -->")[0]
    assert told == verdict_paragraph()
