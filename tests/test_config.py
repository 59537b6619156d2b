"""Parameters: composed, checked, and refused in one line."""

import shutil
from pathlib import Path
from typing import get_args

import pytest
from dvc.utils.hydra import compose_and_dump

from mlcore.config import compose, compose_raw, dump, load
from mlcore.config.hydra_app import check_jobs, expand
from mlcore.config.schema import FetchConfig, NetworkActivation, WeightInit
from mlcore.data.sources import SHA256
from mlcore.errors import RetraceError
from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.initializers import INITIALIZERS

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PARAMS = (ROOT / "params.yaml").read_text()


def test_params_yaml_is_what_conf_composes_to():
    assert dump(compose_raw(CONF)) == PARAMS, "run `make params`"
    assert load(ROOT / "params.yaml") == compose(CONF)


@pytest.mark.parametrize("overrides", [[], ["experiment=smoke", "grid.init=[normal]"]])
def test_composition_has_the_bytes_that_dvc_composes(tmp_path, overrides):
    theirs = tmp_path / "params.yaml"
    compose_and_dump(theirs, str(CONF), None, "config", str(tmp_path), overrides)
    assert dump(compose_raw(CONF, overrides)) == theirs.read_text()


@pytest.mark.parametrize("option", [f"{p.parent.name}={p.stem}" for p in CONF.glob("*/*.yaml")])
def test_every_group_option_composes(option):
    compose(CONF, [option])


STATED = """
network.hidden_layer_sizes=[256,128,64,32] network.batch_size=128 network.learning_rate=0.02
network.max_epochs=100 classifier.hidden_layer_sizes=[128,64,32] classifier.batch_size=128
classifier.learning_rate=2e-5 classifier.max_epochs=100 classifier.solver=adam
autoencoder.hidden_layer_sizes=[128,64,32,64,128] feature_classifier.hidden_layer_sizes=[32,32]
feature_classifier.max_epochs=200
"""


def test_the_defaults_are_the_values_the_study_states():
    config = compose(CONF)
    assert compose(CONF, STATED.split()) == config
    search = config.search
    n_candidates = len(search.solver) * len(search.learning_rate) * len(search.batch_size)
    assert n_candidates * search.cv == 108


def test_the_seed_is_the_networks_where_the_studys_code_has_one():
    config = compose(CONF, ["seed=7"])
    others = ("mnist", "fashion_mnist", "classifier", "search", "autoencoder", "feature_classifier")
    assert config.network.seed == 7
    assert {getattr(config, part).seed for part in others} == {42}


@pytest.mark.parametrize("part", ["classifier", "autoencoder"])
@pytest.mark.parametrize(
    "case",
    ["fit null full", "partial_fit null train", "warm_start null train", "fit train train",
     "partial_fit full full"],
)  # fmt: skip
def test_images_are_those_of_the_method_unless_stated(part, case):
    method, images, trained_on = case.split()
    config = compose(CONF, [f"{part}.method={method}", f"{part}.images={images}"])
    assert getattr(config, part).trained_on == trained_on


BAD = {
    "network.learning_rate=-1": "network.learning_rate=-1: should be greater than 0",
    "network.learning_rate=nan": "network.learning_rate=nan: should be a finite number",
    "network.batch_size=0": "network.batch_size=0: should be greater than or equal to 1",
    "network.batch_size=true": "network.batch_size=True: should be a valid integer",
    "network.max_epochs=many": "network.max_epochs='many': should be a valid integer",
    "network.activation=rely": "network.activation='rely': should be 'sigmoid', 'tanh'",
    "network.hidden_layer_sizes=[]": "network.hidden_layer_sizes=[]: List should have at",
    "network.hidden_layer_sizes=[4,0]": "network.hidden_layer_sizes.1=0: should be greater",
    "grid.init=[zero,zero]": "grid.init=['zero', 'zero']: should not hold a value twice",
    "grid.method=[fit]": "grid.method=['fit']: should hold fit and partial_fit",
    "classifier.method=fitted": "classifier.method='fitted': should be 'fit', 'partial_fit' or",
    "network.bias_init=weight": "network.bias_init='weight': should be 'zero', 'random', 'rand",
    "search.solver=[bfgs]": "search.solver.0='bfgs': should be 'adam', 'sgd' or 'lbfgs'",
    "mnist.test_size=1.0": "mnist.test_size=1.0: should be less than 1",
    "tracking.uri=mlflow.db": "tracking.uri='mlflow.db': should be like sqlite:////folder/mlflow.db",
    "features.layer=6": "features.layer=6: should be at most 5",
    "network.learning_rat=1": "rat=1 is unknown; did you mean network.learning_rate?",
    "netwrk.seed=1": "netwrk.seed=1 is unknown; did you mean network?",
    "patience=5": "patience=5 is unknown; did you mean network.patience?",
    "+network.momentum=1": "network.momentum=1 is unknown; there are activation,",
    "network.learning_rate.x=1": "network.learning_rate holds a value",
    "experiment=rport": "experiment=rport is unknown; did you mean report?",
    "~network.seed": "network.seed is missing",
}


@pytest.mark.parametrize(("override", "message"), BAD.items())
def test_a_wrong_override_is_one_line_that_says_what_is_right(override, message):
    with pytest.raises(RetraceError) as error:
        compose(CONF, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(RetraceError, match=r"batch_size=0.*; .*patience=0"):
        compose(CONF, ["network.batch_size=0", "network.patience=0"])


def test_load_applies_the_overrides_of_a_matrix_cell():
    overrides = ["network.activation=relu", "network.learning_rate=1e-5"]
    network = load(ROOT / "params.yaml", overrides).network
    assert (network.activation, network.learning_rate) == ("relu", 1e-5)


EDITED = {
    PARAMS.replace("patience: null", "patience: '20'"): "network.patience='20': should be a valid",
    PARAMS.replace("patience: null", "patients: 20"): "did you mean network.patience",
    PARAMS.replace("rate: 0.02", "rate: 1e-5x"): "network.learning_rate='1e-5x'",
    PARAMS.replace("seed: 42\n", "seed: [\n"): "cannot be read",
    None: "params.yaml does not exist; `make params` writes it",
    "": "seed is missing",
    "just text": "just text=None is unknown; there are",
    "- a\n- list\n": "cannot be read",
    "\x00\xff": "cannot be read",
}


@pytest.mark.parametrize(("content", "message"), EDITED.items(), ids=range(len(EDITED)))
def test_a_params_yaml_that_is_none_is_one_line(tmp_path, content, message):
    params = tmp_path / "params.yaml"
    if content is not None:
        params.write_text(content, encoding="latin-1")
    with pytest.raises(RetraceError, match=r"params\.yaml") as error:
        load(params, ["network.patience=5"])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_schema_offers_what_the_code_has():
    assert set(get_args(NetworkActivation)) == set(ACTIVATIONS)
    assert set(get_args(WeightInit)) == set(INITIALIZERS)
    assert set(get_args(FetchConfig.model_fields["dataset"].annotation)) == set(SHA256)


@pytest.mark.parametrize(
    ("override", "reason"),
    [("seed=range(5,5)", "should have a job"), ("seed=range(0,9,0)", "must not be zero"),
     ("seed=[1,2", r"command line: seed=\[1,2: no viable"), ("network=smal", "did you mean small"),
     ("hydra.sweeper=null", "_target_"),
     ("hydra.sweeper._target_=???", "Missing mandatory value")],
)  # fmt: skip
def test_sweeps_that_cannot_be_run_say_why(override, reason):
    with pytest.raises(RetraceError, match=reason):
        check_jobs(CONF, "train_network", ["network"], ["-m", override])


def test_what_conf_has_wrong_is_not_said_of_the_command_line(tmp_path):
    shutil.copytree(CONF, conf := tmp_path / "conf")
    text = (conf / "config.yaml").read_text()
    (conf / "config.yaml").write_text(text.replace("- network: study", "- network: stdy"))
    for overrides, source in ([], "conf/"), (["seed=3"], "command line: seed=3"):
        with pytest.raises(RetraceError, match=f"^{source}: network=stdy is unknown; did you mean"):
            compose(conf, overrides)


def test_a_sweep_chooses_from_the_groups_that_are_there():
    options = {f"experiment={path.stem}" for path in (CONF / "experiment").glob("*.yaml")}
    jobs = expand(["experiment=glob(*)", "seed=1"], "file", CONF)
    assert {tuple(job) for job in jobs} == {(option, "seed=1") for option in options}
