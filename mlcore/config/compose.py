"""The ways to a valid set of parameters.

`conf/` is the one source. Hydra composes it; `params.yaml` is what it composes to, and what DVC
and its stages read. Every way ends in `validate`, so that a wrong value is one clear line before
any work starts.
"""

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import ValidationError

from mlcore.config.messages import composition_problem, in_one_line
from mlcore.config.schema import Config
from mlcore.errors import RetraceError
from mlcore.errors.validation import masked, mistakes


def validate(config: DictConfig | ListConfig, source: str) -> Config:
    """Check a composed configuration, which came from `source`, against the schema.

    Raises RetraceError, which names each wrong key, its value, and what is allowed.
    """
    with in_one_line(source):
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise RetraceError(masked(f"{source}: {mistakes(error, Config)}")) from None


def compose_raw(
    conf: Path, overrides: Sequence[str] = (), *, with_hydra: bool = False
) -> DictConfig:
    """Compose the folder `conf` with Hydra overrides such as ``network.learning_rate=0.05``.

    Interpolations are kept; `with_hydra` gives Hydra's own section, too. Raises RetraceError if the
    files or the overrides cannot be composed.
    """
    try:
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            return hydra.compose("config", list(overrides), return_hydra_config=with_hydra)
    except Exception as error:  # Hydra and OmegaConf can raise nearly anything
        raise RetraceError(masked(composition_problem(error, conf, overrides))) from None


def compose(conf: Path, overrides: Sequence[str] = ()) -> Config:
    """Compose and validate; see `compose_raw` and `validate`."""
    return validate(compose_raw(conf, overrides), "command line" if overrides else f"{conf.name}/")


def compose_for_seeds(conf: Path, overrides: Sequence[str], seeds: Sequence[int]) -> list[Config]:
    """Compose once, and validate with each value of ``seed``; see `compose_raw` and `validate`."""
    config, valid = compose_raw(conf, overrides), []
    for seed in seeds:
        config.seed = seed
        valid.append(validate(config, "command line"))
    return valid


def dump(config: DictConfig) -> str:
    """Write a composed configuration as YAML, in the bytes that `dvc exp run` writes."""
    return OmegaConf.to_yaml(config, resolve=True)


def load(params: Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate params.yaml, with overrides in dot notation.

    Raises RetraceError if it is absent, is not YAML, is not composed or does not fit the schema.
    """
    if not params.exists():
        raise RetraceError(f"{params.name} does not exist; `make params` writes it")
    with in_one_line(f"{params.name} cannot be read"):
        # OmegaConf's own reader: for PyYAML 1e-5 is a string
        config = OmegaConf.load(params)
        merged = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
    # As it stands, too: an override may hide a wrong value, as a matrix does one of `exp run -S`
    validate(config, params.name)
    return validate(merged, params.name)


def warn_of_change(conf: Path, params: Path) -> str | None:
    """Say in one line that `params` is not what `conf` composes to, if it is not.

    No error: after ``dvc exp run -S`` and in a smaller copy of the study they differ on purpose.
    """
    try:
        composed = compose_raw(conf)
        validate(composed, f"{conf.name}/")
        if dump(composed) == params.read_text(encoding="utf-8"):
            return None
    except RetraceError as error:
        return f"warning: {error}; {params.name} is used as it is"
    return (
        f"warning: {params.name} is used, and {conf.name}/ composes to something else: "
        f"`make params` takes over an edit in {conf.name}/"
    )
