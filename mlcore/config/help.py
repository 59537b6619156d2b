"""What ``--help`` and shell completion say of a stage, from the schema, conf/ and dvc.yaml."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlcore.config.schema import Config

SHARED = ("seed", "dtype")
"""What every stage takes, besides options of the groups `tracking` and `experiment`."""
SECTIONS = sorted(set(Config.model_fields) - {*SHARED, "tracking"})
"""The other parts of the configuration."""

BASH = """\
_retrace() {
    local module=${COMP_WORDS[2]} word=${COMP_WORDS[COMP_CWORD]}
    [[ ${COMP_WORDS[1]} == -m && $module == stages.* && $COMP_CWORD -gt 2 ]] || return
    COMPREPLY=($(compgen -W "$(COMP_LINE="stage ${COMP_LINE#*"$module"}" \\
        "${COMP_WORDS[0]}" -m "$module" -sc query=bash 2> /dev/null)" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _retrace python python3
"""
"""Completes ``python -m stages.NAME``; Hydra's own script knows files and programs alone."""


def allowed(schema: dict[str, Any]) -> str:
    """Say in words what a JSON schema admits, lists and numbers as Hydra reads them."""
    if "anyOf" in schema:
        return " or ".join(map(allowed, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(schema["enum"])
    match schema["type"]:
        case "array":
            return f"list of {allowed(schema['items'])}"
        case "boolean":
            return "true, false"
        case "null":
            return "null"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema)
    return f"{schema['type']} {bounds}".strip()


def parameters(conf: Path, sections: Sequence[str], config: DictConfig) -> str:
    """Give a line for each parameter of the sections and each group that sets several at once."""
    rows = list(_rows(conf, sections, config))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {what}" for name, what in rows)


def _rows(conf: Path, sections: Sequence[str], config: DictConfig) -> Iterator[tuple[str, str]]:
    chosen = config.hydra.runtime.choices
    for section in sections:
        yield f"{section}={chosen[section]}", _options(conf, section)
        values: Any = OmegaConf.to_object(config[section])
        for key, schema in _schema(section).items():
            value = json.dumps(values[key], separators=(",", ":")).replace('"', "")
            yield f"  {section}.{key}={value}", allowed(schema)
    shared = Config.model_json_schema()["properties"]
    for key in SHARED:
        yield f"{key}={config[key]}", allowed(shared[key])
    for group in ("experiment", "tracking"):
        yield f"{group}={chosen[group]}", _options(conf, group)


def _options(conf: Path, group: str) -> str:
    return ", ".join(sorted(path.stem for path in (conf / group).glob("*.yaml")))


def examples(stage: str, sections: Sequence[str]) -> str:
    """Give a command for one run of a stage, and one for a sweep if it has choices."""
    command = f"  python -m stages.{stage}"
    for section in sections:
        for key, schema in _schema(section).items():
            if values := schema.get("enum"):
                choice, several = f"{section}.{key}={values[-1]}", ",".join(values[:3])
                return (
                    f"{command} {choice}\n"
                    f"{command} -m {section}.{key}={several} hydra/launcher=joblib"
                )
    return f"{command}\n{command} hydra.run.dir=FOLDER"


def completions(line: str) -> list[str]:
    """Complete the value of a parameter with choices, at the end of a line; else give nothing."""
    key, equals, _ = line.rpartition(" ")[2].partition("=")
    section, _, name = key.partition(".")
    schema = _schema(section).get(name, {}) if equals and section in SECTIONS else {}
    return [f"{key}={value}" for value in schema.get("enum", [])]


def _schema(section: str) -> dict[str, Any]:
    model: Any = Config.model_fields[section].annotation
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties
