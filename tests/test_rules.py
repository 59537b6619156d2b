"""metrics/rules.yaml: what it holds is read, what is wrong in it is named."""

from pathlib import Path

import pytest
import yaml

from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.judging.rules import read_rules

RULES = Path(__file__).parents[1] / "metrics" / "rules.yaml"


def test_what_is_committed_is_read_as_it_stands():
    assert read_rules(RULES).model_dump(exclude_unset=True) == read_yaml(RULES)


def in_rule(_kind, **values):
    def edit(rules):
        next(rule for rule in rules["numbers"] if rule["kind"] == _kind).update(values)

    return edit


def without(kind, key):
    return lambda rules: next(r for r in rules["numbers"] if r["kind"] == kind).pop(key) and None


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda rules: [rules], "it holds [{"),
        (lambda rules: rules.pop("numbers") and None, "numbers is missing"),
        (lambda rules: rules.update(level=95, more=1), "more=1 is unknown; there are joint, "),
        (lambda rules: rules.update({"a\nb\x1b[31m": 1}), "a b\\x1b[31m=1 is unknown; there are"),
        (lambda rules: rules.update(level="x" * 99), f"level='{'x' * 59} ...: "),
        (lambda rules: rules.update(level=None), "level=None: "),
        (lambda rules: rules.update(min_replicates=1), "min_replicates=1: "),
        (lambda rules: rules["numbers"].append(5), "numbers."),
        (without("exact", "kind"), ".kind is missing"),
        (without("exact", "rounding"), "tolerance and rounding, the reason for it, go together"),
        (in_rule("exact", kind="guessed\n"), ".kind='guessed\\n': it should be one of 'given', "),
        (in_rule("trained", tolerance=-0.1), "tolerance=-0.1: "),
        (in_rule("trained", tolerance=float("nan")), "tolerance=nan: "),
        (in_rule("trained", relative_tolerance=0.1), "one of tolerance and relative_tolerance"),
        (in_rule("trained", spread="wide"), "spread='wide': "),
        (in_rule("given", decimals=2), "numbers.0.decimals=2 is unknown; there are kind, match"),
        (in_rule("choice", spread="own"), "spread='own' is unknown; there are better, kind, match"),
        (in_rule("choice", tolerence=1), ".tolerence=1 is unknown; did you mean numbers."),
        (lambda rules: rules["joint"].update(new={"match": [], "paired": False}),
         "joint.new.match=[]: "),
        (lambda rules: rules["joint"].update(new={"match": ["a"]}), "joint.new.paired is missing"),
        (lambda rules: rules["joint"]["3.2"]["protocols"].update(new=["fit"]),
         "joint.3.2.protocols.new=['fit']: "),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_rule_is_named_in_one_line(tmp_path, edit, says):
    content = read_yaml(RULES)
    content = edit(content) or content
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with pytest.raises(RetraceError) as refusal:
        read_rules(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message
