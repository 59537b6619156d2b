"""The README: its numbers are those of the committed run, its commands and code work."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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
