"""Any study in a folder, from what was printed to a verdict."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from pydantic import TypeAdapter
from sklearn.neural_network import MLPClassifier

from mlcore.errors import RetraceError
from mlcore.files import read_json
from mlcore.judging import Claim, Evidence, Rules, judge, printed_in
from mlcore.judging.claims import judge_claim
from mlcore.judging.published import read_published
from mlcore.judging.rules import Choice, Trained, read_rules
from mlcore.judging.statistics import Spread, further_sd
from mlcore.report.folder import written
from mlcore.review.judge import main

SHAPE = np.array([-1, 1] * 3) * np.sqrt(5 / 6)  # mean 0, standard deviation 1
RULE = {"match": "accuracy.*", "kind": "trained", "runs": "*", "metric": "accuracy",
        "tolerance": 0.01}  # fmt: skip
PUBLISHED = "accuracy: {svm: 0.930, mlp: 0.94}\n"
CLAIMS = [{"id": "C1", "section": "4", "kind": "claim", "text": "The MLP is best.",
           "statements": ["accuracy(mlp) is highest of *"]}]  # fmt: skip
NEAR = "accuracy(mlp) = accuracy(svm) within 1 point"


def runs_of(svm=0.93, mlp=0.94, sd=0.001):
    return pd.concat(
        pd.DataFrame({"name": name, "seed": range(1, 7), "accuracy": mean + sd * SHAPE})
        for name, mean in (("svm", svm), ("mlp", mlp))
    )


def with_value(value):
    """One run without, or with another, and a column of few runs, which nothing asks for."""
    runs = runs_of().reset_index(drop=True).assign(unused=np.nan)
    runs.loc[1, "unused"], runs.loc[2, "accuracy"] = 0.5, value
    return runs


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "their_study"
    folder.mkdir()
    (folder / "published.yaml").write_text(PUBLISHED)
    (folder / "rules.yaml").write_text(yaml.safe_dump({"numbers": [RULE]}))
    (folder / "claims.yaml").write_text(yaml.safe_dump(CLAIMS))
    runs_of().to_csv(folder / "runs.csv", index=False)
    return folder


def verdicts(published, runs, rule=RULE):
    return judge(printed_in(published), Evidence(Rules(numbers=[rule]), runs))["by_number"]


def test_a_study_is_judged_with_all_that_is_promised(study, capsys):
    assert main([str(study), "--html"]) == 0
    told = capsys.readouterr().out
    assert "accuracy.svm  0.930    0.930     6     reproduced" in told
    assert "Two printed numbers, judged by twelve runs: 2 reproduced." in told
    assert "One claim: 1 supported." in told
    verdict = read_json(study / "verdict.json")
    assert (verdict["by_claim"]["C1"]["verdict"], verdict["replicates"]) == ("supported", 12)
    assert pd.read_csv(study / "verdict.csv")["verdict"].tolist() == ["reproduced"] * 2
    assert "| accuracy, svm | 0.930 | 0.930 | 6 | " in (study / "verdict.md").read_text()
    page = (study / "verdict.html").read_text()
    assert "<title>Retrace: their study: None of the study&#39;s numbers" in page
    assert page.count("<svg") > 3
    assert "Fashion" not in page
    before = {path.name: path.read_bytes() for path in study.iterdir()}
    main([str(study), "--html"])
    assert {path.name: path.read_bytes() for path in study.iterdir()} == before


def test_rules_and_runs_are_proposed_and_too_few_runs_say_nothing(tmp_path, capsys):
    (tmp_path / "published.yaml").write_text(
        "accuracy: {svm: 0.930, mlp: {mean: 0.94, sd: 0.01, runs: 5}}\ntest_loss: {mlp: 0.213}\n"
        "seconds: 12.5\nbest: mlp\ntop5_acc: {vgg: 97.3}\n"
    )
    assert main([str(tmp_path), "--init"]) == 0
    rules = yaml.safe_load((tmp_path / "rules.yaml").read_text())["numbers"]
    assert rules[0] == RULE
    assert rules[1]["relative_tolerance"] == rules[2]["relative_tolerance"] == 0.05
    assert (rules[1]["better"], rules[2]["runs"]) == ("lower", "seconds")
    assert rules[3] == {"match": "best", "kind": "given"}
    assert rules[4]["tolerance"] == 1
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert list(runs)[:5] == ["name", "seed", "accuracy", "test_loss", "seconds"]
    assert runs["name"].value_counts().to_dict() == {"svm": 6, "mlp": 6, "seconds": 6, "vgg": 6}
    assert main([str(tmp_path), "--init"]) == 1
    (tmp_path / "published.yaml").write_text(PUBLISHED)
    (tmp_path / "rules.yaml").unlink()
    assert main([str(tmp_path), "--init"]) == main([str(tmp_path)]) == 0
    assert "2 not testable" in capsys.readouterr().out


def put(name, content):
    """Write a file of the study anew: text, what YAML holds, or a table."""

    def change(folder):
        if isinstance(content, pd.DataFrame):
            content.to_csv(folder / name, index=False)
        else:
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            (folder / name).write_text(text)

    return change


def printing(text):
    return put("published.yaml", text)


def ruled(joint=None, **rule):
    joint = {"joint": {"all": {"match": ["accuracy.*"], "paired": False} | joint}} if joint else {}
    return put("rules.yaml", {"numbers": [RULE | rule]} | joint)


def claiming(statement):
    return put("claims.yaml", [CLAIMS[0] | {"statements": [statement]}])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "rules.yaml").unlink(), "rules.yaml does not exist; --init proposes one"),
        (lambda f: (f / "published.yaml").unlink(), "published.yaml does not exist; it sho"),
        (printing("a: [1, null]"), "a[1]=None should be a"),
        (printing("a: .nan"), "published.yaml: "),
        (printing("a: {b: 1"), "published.yaml: "),
        (printing("{}"), "it holds no number"),
        (printing("accuracy: {svm: {mean: 1, sd: 2, runs: 1}}"),
         "accuracy.svm.runs=1 should be a count of runs, 2 or more"),
        (printing("accuracy: {svm: {mean: 1, sd: 2}}"),
         "accuracy.svm.runs is missing: of how many runs is sd=2?"),
        (printing("accuracy: {svm: {mean: 1, std: 2}}"), "accuracy.svm: std should be sd"),
        (printing("accuracy: {svm: 93.1 ± 0.2}"),
         "accuracy.svm='93.1 ± 0.2' should be written as {mean: 93.1, sd: 0.2, runs: N}"),
        (printing("accuracy:\n  svm: 0.9\n  svm: 0.8\n"),
         "published.yaml: line 3: svm is there twice"),
        (printing("accuracy: {svm: {mean: best}}"),
         "accuracy.svm.mean='best' should be a number"),
        (printing("accuracy: {svm: good}"), "accuracy.svm='good' should be a number"),
        (printing("{accuracy: {svm: 1}, loss: {svm: 0.9}}"), "no rule fits loss.svm"),
        (ruled(metric="acuracy"), "there is no metric acuracy; did you mean accuracy?"),
        (ruled(match="accuracy.???"), "of patterns only stars are known here"),
        (ruled({"match": ["acuracy.*"]}), "joint.all: no number fits acuracy.*; did you mean a"),
        (ruled({"protocols": {"longer": {"svc": "long"}}}, runs="svm"),
         "joint.all.protocols.longer: no run's name has svc"),
        (lambda f: [claiming(NEAR)(f), put("runs.csv", runs_of(svm=93, mlp=94))(f)],
         "points are for fractions, and there is 94"),
        (claiming("accuracy(mpl) > 0.9"),
         "the claim C1: accuracy(mpl): there is no run mpl; did you mean mlp?"),
        (put("runs.csv", runs_of().assign(accuracy="93.1%")),
         "accuracy='93.1%' of svm with seed 1 should be a number"),
        (put("runs.csv", runs_of().drop(columns="seed")), "no column seed"),
        (put("runs.csv", "name;seed;accuracy\nsvm;1;0,93\n"), "separated by semicolons"),
        (put("runs.csv", "name\tseed\nsvm\t1\n"), "separated by tabs"),
        (put("runs.csv", "name,seed,accuracy\nsvm,1,0,93\n"), "a comma too many"),
        (put("rules.yaml", {"numbers": [RULE, RULE | {"match": "f1.*"}]}), "no number fits f1.*"),
        (put("runs.csv", pd.concat([runs_of(), runs_of()])), "svm with seed 1 is there twice"),
        (put("runs.csv", runs_of()[:0]), "runs.csv: it has no run"),
        (put("runs.csv", runs_of().assign(seed=0.5 * runs_of()["seed"])), "a seed, a whole number"),
        (put("curves.csv", runs_of()), "the curves have no column epoch"),
        (put("curves.csv", runs_of().assign(epoch=1, train_loss="half", val_loss=1,
                                            val_accuracy=1)),
         "the curve of mlp, 1 has losses that are not > 0"),
        (put("runs.csv", with_value(np.nan)), "svm with seed 3 has no accuracy"),
        (put("runs.csv", with_value(np.inf)), "accuracy of svm with seed 3 is infinite"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(study, capsys, change, says):
    change(study)
    before = sorted(study.iterdir())
    assert main([str(study)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert error.count("\n") == 1
    assert sorted(study.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{}/runs.csv"], "{}/runs.csv is not a folder"),
        (["{}", "--seed", "s"], "--experiment, --filter and --seed say what to take of --mlflow U"),
    ],
)
def test_a_wrong_command_line_is_one_line(study, capsys, words, says):
    assert main([word.format(study) for word in words]) == 1
    assert capsys.readouterr().err.startswith(f"error: {says.format(study)}")


def test_ctrl_c_is_one_line(study, capsys, monkeypatch):
    monkeypatch.setattr("mlcore.review.judge.judge", mock.Mock(side_effect=KeyboardInterrupt))
    assert main([str(study)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_has_seen_enough_is_no_error(study):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mlcore.review.judge", study]
    with os.fdopen(write) as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.stderr, (study / "verdict.json").exists()) == (b"", True)


SEEDS_APART = put("runs.csv", runs_of().assign(seed=range(12)))
OF_MPL = put("runs.csv", pd.concat([runs_of(), runs_of()[6:].assign(name="mpl")]))
GIVEN_BEST = put("rules.yaml", {"numbers": [RULE, {"match": "best", "kind": "given"}]})


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ([put("runs.csv", runs_of(svm=0.95))], 3, "Not reproduced: accuracy.svm."),
        ([put("runs.csv", runs_of(mlp=0.92))], 3, "1 refuted"),
        ([printing("accuracy: {svm: 93.1}")], 3, ", 0.93: is one of them in per cent?"),
        ([printing("accuracy: {svm: 0.0093}")], 3, "and 0.9207 from the mean\n"),
        ([printing("accuracy: {svmm: 0.9}")], 0,
         "not testable: there is no run svmm; did you mean svm?"),
        ([claiming("accuracy(svm) > 0.99")], 3,
         "C1 refuted: The MLP is best. (accuracy(svm) > 0.99: the difference is -0.06, from "),
        ([claiming(NEAR), SEEDS_APART], 0,
         f"C1 undecided: The MLP is best. ({NEAR}: there are 0 runs of a common seed, where 3 are "
         "needed)"),
        ([printing(f"{PUBLISHED}best: svm\n"), GIVEN_BEST, put("claims.yaml", []), OF_MPL], 0,
         "perhaps misspelt: runs of mpl"),
    ],
)  # fmt: skip
def test_what_is_found_is_told_and_ends_with_3_if_it_does_not_hold(
    study, capsys, changes, code, says
):
    for change in changes:
        change(study)
    assert main([str(study)]) == code
    assert says in capsys.readouterr().out


def test_printed_digits_are_read_as_they_stand(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(
        "a: 0.870\nb: 1.0e-3\nc: 12\nd: {mean: 0.50, sd: 0.010, runs: 3}\ne: adam\nno: 1e-3\n"
    )
    found = {one.path: (one.value, one.decimals, one.runs) for one in read_published(path)}
    assert found == {"a": (0.87, 3, 1), "b": (0.001, 4, 1), "c": (12, 0, 1), "d": (0.5, 2, 3),
                     "d.sd": (0.01, 3, 3), "e": ("adam", 15, 1), "no": (0.001, 3, 1)}  # fmt: skip
    numbers = {"a": {"decimals": 3, "published": 0.87}}
    assert (written(numbers, "a", 0.87), written(numbers, "a", 0.8712)) == ("0.870", "0.8712")


CHOICE = {"match": "best.*", "kind": "choice", "runs": "*", "metric": "accuracy", "tolerance": 0.01}


@pytest.mark.parametrize(
    ("published", "runs", "rule", "says"),
    [({"accuracy": {"svm": 0.9}}, runs_of().drop(columns="seed"), RULE, "no column seed"),
     ({"best": {"depth": 3}}, runs_of().assign(deep=3), CHOICE, "no setting depth; did you mean d"),
     ({"accuracy": {"svm": {"mean": 0.93, "runs": 5}}}, runs_of(), RULE | {"spread": "range"},
      "spread=range is not for means of runs")],
)  # fmt: skip
def test_what_is_wrong_is_named_in_python_too(published, runs, rule, says):
    with pytest.raises(RetraceError, match=says):
        verdicts(published, runs, rule)


def test_without_mlflow_one_line_says_so(study, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.delitem(sys.modules, "mlcore.tracking.table", raising=False)
    assert main([str(study), "--mlflow", "sqlite:///none.db"]) == 1
    assert capsys.readouterr().err == "error: mlflow is not installed; pip install mlflow\n"


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_mean_of_several_runs_lies_closer(k):
    runs = runs_of(sd=0.01)
    (number,) = verdicts({"accuracy": {"svm": {"mean": 0.93, "runs": k}}}, runs).values()
    # t(5) at 97.5 % is 2.5706; two digits are printed
    half = 2.5706 * 0.01 * (1 / k + 1 / 6) ** 0.5 + 0.005
    assert number["resolution"] == pytest.approx(half, abs=1e-6)
    assert number["rank"] == ("4 of 7" if k == 1 else None)
    those = "one printed run" if k == 1 else f"the mean of {k} printed runs"
    assert number["reason"].endswith(f"{those} could have shown a departure of {half:.4f}")


@pytest.mark.parametrize(
    ("sd", "verdict"), [(0.010, "consistent"), (0.026, "consistent"), (0.029, "not reproduced")]
)
def test_a_printed_standard_deviation_is_judged_by_fishers_f(sd, verdict):
    # F(4, 5) at 97.5 % is 7.388, at 2.5 % 1 / 9.364: 0.00327 to 0.02718, and 0.0005
    assert further_sd(Spread(0.01, 5), 5, 0.95) == pytest.approx((0.003268, 0.027181), abs=1e-6)
    published = {"accuracy": {"svm": {"mean": 0.93, "sd": sd, "runs": 5}}}
    found = verdicts(published, runs_of(sd=0.01))["accuracy.svm.sd"]
    assert (found["verdict"], found["sd"], found["n"]) == (verdict, pytest.approx(0.01), 6)
    few = verdicts(published, runs_of(sd=0.01).query("seed < 5"))["accuracy.svm.sd"]
    assert few["reason"] == "too few replicates: 4, where 6 are needed"


@pytest.mark.parametrize(("better", "mean"), [("lower", 0.93), ("higher", 0.94)])
def test_the_best_of_several_may_be_the_lowest(better, mean):
    rule = RULE | {"match": "best", "better": better}
    assert verdicts({"best": 0.93}, runs_of(), rule)["best"]["mean"] == pytest.approx(mean)


def test_curves_give_claims_their_measures(study):
    losses = {"train_loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 1.0, 1.5], "val_accuracy": 0.9}
    pd.concat(
        pd.DataFrame({"name": "mlp", "seed": seed, "epoch": [1, 2, 3], **losses})
        for seed in range(1, 7)
    ).to_csv(study / "curves.csv", index=False)
    claiming("generalisation_loss(mlp) > 0")(study)
    assert main([str(study)]) == 0
    statement = read_json(study / "verdict.json")["by_claim"]["C1"]["statements"][0]
    assert (statement["left"], statement["verdict"]) == (50.0, "supported")


@pytest.mark.mlflow
def test_runs_come_from_mlflow(study, tmp_path, capsys):
    import mlflow

    # A client, as mlflow.set_experiment would hold for the tests that follow in this process
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    theirs = client.create_experiment("theirs", str(tmp_path / "artifacts"))
    for row in runs_of().to_dict("records"):
        run = client.create_run(theirs, run_name=row["name"]).info.run_id
        client.log_param(run, "seed", row["seed"])
        client.log_param(run, "kind", "final")
        client.log_metric(run, "accuracy", 0.1, step=0)
        client.log_metric(run, "accuracy", row["accuracy"], step=1)
        client.set_terminated(run)
    by_hand = (study / "runs.csv").read_text()
    asked = [str(study), "--mlflow", uri, "--experiment", "theirs"]
    assert main([*asked, "--filter", "params.kind = 'final'"]) == 0
    expected = runs_of().sort_values(["name", "seed"], ignore_index=True)
    pd.testing.assert_frame_equal(pd.read_csv(study / "runs.csv"), expected)
    assert main([str(study), "--mlflow", f"{uri}?timeout=30", "--experiment", "theirs"]) == 0
    assert (study / "runs.csv.old").read_text() == by_hand
    for more, says in (
        (["--filter", "params.kind = 'trial'"], "theirs has no such run"),
        (["--filter", "kind is"], "Invalid"),
        (["--seed", "random_state"], "has no whole number as random_state; --seed names another"),
        (["--experiment", "ours"], "has no experiment ours"),
        (["--mlflow", f"sqlite:///{tmp_path}/gone.db"], "gone.db: there is no such file"),
        (["--mlflow", "mlflow.db"], "mlflow.db: should be like sqlite:///mlflow.db or http://host"),
        (["--mlflow", f"sqlite:///{study}/rules.yaml"], "file is not a database"),
    ):
        assert main([*asked, *more]) == 1
        assert says in capsys.readouterr().err


DOC = (Path(__file__).parents[1] / "docs" / "your_study.md").read_text()
EXAMPLE = Path(__file__).parents[1] / "examples" / "fashion_mnist_2017"


def blocks(language):
    found = re.findall(rf"^( *)```{language}\n(.*?)\n *```$", DOC, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in found]


def test_the_second_study_is_the_documents_example():
    printed = read_published(EXAMPLE / "published.yaml")
    assert len(printed) == 16
    assert {(one.decimals, one.runs) for one in printed} == {(3, 2)}
    rules = read_rules(EXAMPLE / "rules.yaml")
    assert {rules.rule_for(one.path).runs_of(one.path)[:11] for one in printed} == {"patience-2/"}
    shown, rule, _, joint = blocks("yaml")
    assert shown in (EXAMPLE / "published.yaml").read_text()
    assert all(text in (EXAMPLE / "rules.yaml").read_text() for text in (rule, joint))


def test_what_the_document_shows_is_accepted(tmp_path, capsys):
    shown, _, claims, _ = blocks("yaml")
    (tmp_path / "published.yaml").write_text(shown)
    assert main([str(tmp_path), "--init"]) == 0
    runs = pd.read_csv(tmp_path / "runs.csv")
    (header,) = {block.partition("\n")[0] for block in blocks("csv")}
    assert list(runs) == header.split(",")
    assert set(runs["name"]) == {"fashion_mnist.relu.100", "fashion_mnist.relu.100-10"}
    exec(blocks("python")[0], {})
    (claim,) = TypeAdapter(list[Claim]).validate_python(yaml.safe_load(claims))
    runs = runs_of().assign(name=lambda table: table["name"].map({"svm": "mlp-1", "mlp": "mlp-2"}))
    evidence = Evidence(Rules(numbers=[]), runs.rename(columns={"accuracy": "test_accuracy"}))
    judged = judge_claim(claim, evidence, {})
    assert [s["verdict"] for s in judged["statements"]] == ["refuted", "refuted"]
    rows = re.findall(r"^\| (`[^|]*`) \|", DOC, re.MULTILINE)
    told = set(re.findall(r"`(\w+)`", " ".join(rows)))
    fields = {name for model in (Trained, Choice) for name in model.model_fields}
    assert fields - told == set()


def test_the_second_study_has_the_verdict_of_its_runs(tmp_path, capsys):
    made = shutil.ignore_patterns("verdict.*")
    study = shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name, ignore=made)
    assert main([str(study)]) == 3
    told = capsys.readouterr().out
    found, kept = (read_json(folder / "verdict.json") for folder in (study, EXAMPLE))
    assert found["replicates"] == 192
    assert found["numbers"] == kept["numbers"]
    for path, number in found["by_number"].items():
        assert number["values"] == kept["by_number"][path]["values"]
        assert number["p"] == pytest.approx(kept["by_number"][path]["p"])
    assert (study / "verdict.md").read_text() == (EXAMPLE / "verdict.md").read_text()
    shown = [line for block in blocks("text") for line in block.splitlines()]
    assert shown
    assert all(line in told for line in shown)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_network_that_ctrl_c_left_half_trained_is_no_run(monkeypatch):
    train = runpy.run_path(str(EXAMPLE / "train.py"))["train"]
    images = SimpleNamespace(X=np.eye(20), y=np.arange(20) % 2)
    monkeypatch.setitem(train.__globals__, "read_images", lambda _: ((images.X, images.y), images))
    config = {**OmegaConf.load(EXAMPLE / "conf.yaml"), "layers": "3"}
    assert train(SimpleNamespace(**config)).keys() == {"test_accuracy", "train_loss", "n_epochs"}
    stopped = mock.Mock(side_effect=KeyboardInterrupt)  # which scikit-learn catches
    monkeypatch.setattr(MLPClassifier, "_update_no_improvement_count", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(SimpleNamespace(**config))
