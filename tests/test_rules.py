"""metrics/rules.yaml and claims.yaml: what they hold is read, what is wrong in them is named."""

from pathlib import Path

import pytest
import yaml

from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.judging.claims import CLAIMS
from mlcore.judging.curves import MEASURES
from mlcore.judging.rules import read_claims, read_rules

METRICS = Path(__file__).parents[1] / "metrics"


def test_what_is_committed_is_read_as_it_stands():
    rules, claims = METRICS / "rules.yaml", METRICS / "claims.yaml"
    read = read_rules(rules, CLAIMS, MEASURES)
    assert read.model_dump(exclude_unset=True) == read_yaml(rules)
    assert [claim.model_dump() for claim in read_claims(claims, CLAIMS)] == read_yaml(claims)


@pytest.fixture
def edited(tmp_path):
    """Writes a copy of a file whose content was edited in place; gives its path."""

    def write(name, edit):
        content = read_yaml(METRICS / name)
        content = edit(content) or content
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write


def refused(path, read, says):
    with pytest.raises(RetraceError) as refusal:
        read(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


def first(rules, kind):
    return next(rule for rule in rules["numbers"] if rule["kind"] == kind)


def in_rule(_kind, **values):
    return lambda rules: first(rules, _kind).update(values)


def without(kind, key):
    return lambda rules: first(rules, kind).pop(key) and None


def in_claim(name, **values):
    return lambda rules: rules["claims"][name].update(values)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda rules: [rules], "it holds [{"),
        (lambda rules: 5, "it holds 5"),
        (lambda rules: rules.pop("level") and None, "level is missing"),
        (lambda rules: rules.update(level=95, more=1), "than 1; more is unknown"),
        (lambda rules: rules.update(level=None), ": the file={"),
        (lambda rules: rules.update(level=None), "}: 'level': a key without a value; leave it out"),
        (lambda rules: rules.update(min_replicates=1), "min_replicates=1: "),
        (lambda rules: rules.update(supported_at_least=1.5), "supported_at_least=1.5: "),
        (lambda rules: rules["numbers"].append(5), "numbers."),
        (without("exact", "kind"), ".kind is missing"),
        (without("exact", "rounding"), "tolerance and rounding, the reason for it, go together"),
        (without("trained", "tolerance"), "one of tolerance and relative_tolerance"),
        (without("trained", "better"), "better is missing"),
        (in_rule("exact", kind="guessed\n"), ".kind='guessed\\n': it should be one of 'given', "),
        (in_rule("trained", decimals=-1), "decimals=-1: "),
        (in_rule("trained", tolerance=-0.1), "tolerance=-0.1: "),
        (in_rule("trained", tolerance=float("nan")), "tolerance=nan: "),
        (in_rule("trained", relative_tolerance=0.1), "one of tolerance and relative_tolerance"),
        (in_rule("trained", images="other"), "images='other': "),
        (in_rule("trained", images="redrawn"), "images are drawn anew from Fashion-MNIST; the"),
        (in_rule("given", decimals=2), "numbers.0.decimals is unknown"),
        (in_rule("exact", decimals=16), "decimals=16: "),
        (in_rule("trained", part="networks"), "part='networks': "),
        (in_rule("score", images="redrawn"), "images='redrawn': "),
        (in_rule("exact", tolerance=None, rounding=None), "'tolerance', 'rounding': a key without"),
        (in_rule("trained", collapse_below=None), "'collapse_below': a key without a value"),
        (in_claim("sigmoid_slowest", measure=None), "'measure': a key without a value"),
        (in_claim("sigmoid_slowest", also=[{"threshold": 0.1, "measure": None}]),
         "claims.sigmoid_slowest.also.0={"),
        (lambda rules: rules["claims"].pop("sigmoid_slowest") and None,
         "claims.sigmoid_slowest is missing"),
        (in_claim("sigmoid_slowest", threshold="high"),
         "claims.sigmoid_slowest.threshold='high': "),
        (lambda rules: rules["claims"].update(new={"threshold": 0, "also": []}),
         "claims.new is unknown"),
        (in_claim("sigmoid_slowest", also=[{}]),
         "claims.sigmoid_slowest.also.0={}: a threshold or a measure is needed"),
        (in_claim("sigmoid_slowest", score=1), "claims.sigmoid_slowest.score is unknown"),
        (in_claim("sigmoid_slowest", measure="val_rising"),
         "claims.sigmoid_slowest has the measure 'val_rising'; this claim has none"),
        (in_claim("tanh_normal_smoothest", measure="smooth"), "should be one of train_roughness"),
        (in_claim("tanh_normal_smoothest", also=[{"measure": "smooth"}]), "'smooth'"),
        (lambda rules: rules["claims"]["tanh_normal_smoothest"].pop("measure") and None,
         "claims.tanh_normal_smoothest.measure is missing; "
         "it should be one of train_roughness, val_roughness, "),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_rule_is_named_in_one_line(edited, edit, says):
    refused(edited("rules.yaml", edit), lambda path: read_rules(path, CLAIMS, MEASURES), says)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda claims: {"claims": claims}, "it holds {"),
        (lambda claims: claims.clear(), "zero_init_is_chance is there 0 times"),
        (lambda claims: claims.pop(3) and None, "the claim tanh_normal_best is there 0 times"),
        (lambda claims: claims.append(claims[0]), "zero_init_is_chance is there 2 times, not once"),
        (lambda claims: claims[2].pop("text") and None, "2.text is missing"),
        (lambda claims: claims[2].update(id=7), "2.id=7: "),
        (lambda claims: claims.append({"id": "new", "text": "So it is."}),
         "mlcore/judging/claims.py has no function for the claim 'new'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_claim_is_named_in_one_line(edited, edit, says):
    refused(edited("claims.yaml", edit), lambda path: read_claims(path, CLAIMS), says)
