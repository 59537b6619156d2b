"""The study's runs by the names that rules and claims have for them."""

from pathlib import Path

import pandas as pd
import pytest

from mlcore.errors import RetraceError
from mlcore.judging.claims import read_claims, statements_of, values_of
from mlcore.judging.rules import read_rules
from mlcore.study.replicates import read_curves, read_replicates, read_runs
from mlcore.study.runs import differing, evidence_of, named_runs

METRICS = Path(__file__).parents[1] / "metrics"


def runs_of(*rows):
    """Trainings: overrides, part, name and a value per seed."""
    cells = [(*row, seed, value) for *row, values in rows for seed, value in enumerate(values, 1)]
    return pd.DataFrame(cells, columns=["overrides", "part", "name", "seed", "test_accuracy"])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        # As a sweep writes them into its table
        ("fashion_mnist.subset_seed=${seed} classifier.activation=tanh classifier.method=fit "
         "classifier.images=train fashion_mnist.validation_size=0.2",
         {"classifier.images=train", "fashion_mnist.validation_size=0.2"}),
        ("network.init=he network.bias_init=zero network.activation=relu network.init_scale=10",
         {"network.bias_init=zero", "network.init_scale=10"}),
        ("autoencoder.hidden_layer_sizes=[128,64] autoencoder.seed=${seed} fashion_mnist.seed=1",
         {"autoencoder.hidden_layer_sizes=[128,64]", "fashion_mnist.seed=1"}),
        ("", set()),
    ],
)  # fmt: skip
def test_what_makes_an_alternative(told, expected):
    assert differing(told) == expected
    part, values = "autoencoder", [0.1, 0.2, 0.3]
    others = runs_of((told, part, "tanh-fit", values), ("a.b=1", part, "tanh-fit", [9] * 3))
    name = ", ".join([f"{part}/tanh-fit", *sorted(expected)])

    def found(replicates):
        runs = named_runs(replicates, others)
        return runs[runs["name"] == name]["test_accuracy"].tolist()

    assert found(runs_of()) == values
    # What is in both is taken from the replicates, if it is as they are
    assert found(runs_of(("x.y=1", part, "tanh-fit", [0.5] * 2))) == (
        values if expected else [0.5] * 2
    )


def test_a_training_of_two_sweeps_counts_once():
    row = ("network.activation=sigmoid network.init=he", "network", "sigmoid-he", [0.5, 0.6])
    assert named_runs(runs_of(), runs_of(row, row))["test_accuracy"].tolist() == [0.5, 0.6]
    other = (*row[:3], [0.5, 0.61])
    with pytest.raises(RetraceError, match=r"several trainings network/sigmoid-he that differ"):
        named_runs(runs_of(), runs_of(row, other))


def test_candidates_have_their_settings_and_others_have_none():
    runs = runs_of(("", "search", "adam-2e-05-128", [0.8]), ("", "network", "a-b", [0.9]))
    found = named_runs(runs, runs_of())
    assert found["solver"].tolist()[0] == "adam"
    assert found[["learning_rate_init", "batch_size"]].iloc[0].tolist() == [2e-5, 128]
    assert found.loc[1, ["solver", "batch_size"]].isna().all()


def test_the_claims_are_read_and_know_their_metrics_and_parts():
    """In every variant; `values_of` refuses any other. Other parameters have no curves."""
    evidence = evidence_of(
        read_rules(METRICS / "rules.yaml"), read_replicates(METRICS / "replicates.csv"),
        read_curves(METRICS / "replicates_curves.csv"), read_runs(METRICS / "sensitivity.csv"), {},
    )  # fmt: skip
    statements = [
        statement
        for claim in read_claims(METRICS / "claims.yaml")
        for settings in claim.settings()
        for statement in statements_of(claim, settings)
    ]
    quantities = {side for s in statements for side in (s.left, s.right) if side}
    assert len(statements) > len(quantities) > 100
    for quantity in quantities:
        values_of(quantity, evidence)
        metric, _, rest = quantity.partition("(")
        if "," in rest:
            assert evidence.runs[evidence.runs["name"] == rest[:-1]][metric].notna().all()
