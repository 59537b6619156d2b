"""Damaged and hostile input: a reader reads it or refuses it in one line, and does nothing else.

The cases are generated, the same ones every time. RETRACE_FUZZ=n makes n times as many; `make fuzz`
is the way to run them.
"""

import copy
import json
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcore import files
from mlcore.config import Config, compose, load
from mlcore.config.hydra_app import MOST_JOBS, check_jobs, expand
from mlcore.data.splits import parse_idx, read_idx_pair
from mlcore.errors import RetraceError
from mlcore.judging import numbers, study
from mlcore.judging.claims import CLAIMS
from mlcore.judging.curves import MEASURES
from mlcore.judging.replicates import read_curves, read_runs
from mlcore.judging.rules import read_rules
from mlcore.review import compare

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
METRICS = ROOT / "metrics"

TIMES = float(os.environ.get("RETRACE_FUZZ", "1"))

SECONDS = 20
"""That one case may take; most take a millisecond."""

MEMORY = 2**30
"""Bytes that the process may grow by."""

REFUSED = object()


class Forbidden(BaseException):
    """A reader hangs, or does more than read. No reader's `except Exception` catches it."""


FORBIDDEN = (
    *("os.chmod", "os.exec", "os.fork", "os.link", "os.mkdir", "os.posix_spawn", "os.remove"),
    *("os.rename", "os.rmdir", "os.spawn", "os.symlink", "os.system", "os.truncate"),
    *("shutil.", "socket.", "subprocess."),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

reading = False


def only_read(event, arguments):
    """An audit hook: while a reader is at work, nothing is written, started or connected to."""
    if reading and (
        event.startswith(FORBIDDEN) or (event == "open" and (arguments[2] or 0) & WRITING)
    ):
        raise Forbidden(f"it does {event}{arguments}")


def too_long(*_):
    raise Forbidden(f"it takes more than {SECONDS} s")


@pytest.fixture(autouse=True, scope="module")
def _guards():
    sys.addaudithook(only_read)
    before = signal.signal(signal.SIGALRM, too_long)
    read_runs(METRICS / "replicates.csv")  # pandas has Arrow reserve a gigabyte once
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_byte_code(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of modules that are loaded when needed


@contextmanager
def guarded():
    global reading
    reading = True
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    except Forbidden as problem:
        pytest.fail(str(problem))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        reading = False


def attempt(read, *arguments, refusing=RetraceError):
    """Give what a reader gives, or REFUSED if it says in one line why it does not."""
    with guarded():
        try:
            return read(*arguments)
        except refusing as error:
            refusal = error
    if refusing is RetraceError:  # others are folded where a stage ends
        assert len(str(refusal).splitlines()) == 1, str(refusal)
    return REFUSED


def fuzz(n, cases, check, refusals=True):
    """Check n cases, some of which are to be read and, unless said otherwise, some refused.

    Parameters
    ----------
    n : int
    cases : hypothesis strategy
    check : callable
        ``check(case)`` says whether it was read.
    refusals : bool
    """
    outcomes = Counter()

    @settings(
        max_examples=math.ceil(n * TIMES),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def run(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on their way libraries may say what they suspect
            outcomes[check(case)] += 1

    run()
    assert outcomes[True]
    assert bool(outcomes[False]) == refusals
    assert outcomes.total() >= n * TIMES


@st.composite
def damaged(draw, wholes, tokens=()):
    """Draw bytes with one to four places changed, cut out, repeated or replaced."""
    content = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 64)))
        part = content[start:stop]
        changes = ["flip", "cut", "cut off", "repeat", "overwrite", "splice"]
        match draw(st.sampled_from([*changes, "token"] if tokens else changes)):
            case "flip" if part:
                part = bytes([part[0] ^ 1 << draw(st.integers(0, 7))]) + part[1:]
            case "cut off":
                content, part = content[:stop], b""
            case "cut":
                part = b""
            case "repeat":
                part *= draw(st.integers(2, 5))
            case "overwrite":
                part = draw(st.binary(max_size=16))
            case "splice":
                other = draw(st.sampled_from(wholes))
                place = draw(st.integers(0, len(other)))
                part = other[place : place + draw(st.integers(1, 64))]
            case "token":
                part = draw(st.sampled_from(tokens))
        content = content[:start] + part + content[stop:]
    return content


def generated(wholes, tokens=()):
    """Whole, damaged and random bytes."""
    return st.one_of(
        damaged(wholes, tokens), damaged(wholes, tokens), st.sampled_from(wholes), st.binary()
    )


def nested(opening, middle, closing, depth):
    return opening * depth + middle + closing * depth


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [10**400, 2**63, -1, 0, 1e308, math.nan, "NaN", "a\nb", "\x1b[2J", "\u2028", "${seed}"]
    ),
    st.sampled_from([[], {}, [[]], {"a": 1}, {"ours": 1, "published": 1}, ["a"] * 20]),
    st.integers(2, 100).map(lambda depth: json.loads(nested("[", "", "]", depth))),
).map(copy.deepcopy)


def places(tree):
    """Container and key of everything in nested mappings and lists."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


@st.composite
def mutated(draw, tree):
    """Draw nested mappings and lists with one to three values replaced, removed or added."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(tree))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                container[key] = draw(ODD)
            case "remove":
                del container[key]
            case "add" if isinstance(container, dict):
                container[draw(st.text(max_size=8))] = draw(ODD)
            case "add":
                container.insert(key, draw(ODD))
    return tree


# IDX: the format in five lines, to say what should be read


def idx(shape, values, magic=b"\0\0\x08"):
    return magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values


def idx_content(content):
    """Shape and values of an IDX file of bytes, or None."""
    try:
        (magic, n_dims), rest = struct.unpack_from(">3sB", content), content[4:]
        shape, values = struct.unpack_from(f">{n_dims}I", rest), rest[4 * n_dims :]
    except struct.error:
        return None
    whole = magic == b"\0\0\x08" and n_dims > 0 and math.prod(shape) == len(values)
    return (shape, values) if whole else None


IDX = [
    idx((2, 28, 28), bytes(range(196)) * 8),
    idx((2,), b"\x09\x00"),
    idx((3, 2), b"abcdef"),
    idx((0, 28, 28), b""),
    idx((0,), b""),
]
SIZES = st.sampled_from([0, 1, 2, 3, 28, 255, 2**16, 2**31, 2**32 - 1])
HEADERS = st.builds(
    idx, st.lists(SIZES, max_size=80), st.binary(max_size=8), st.sampled_from([b"\0\0\x08"] * 3)
)


def test_idx():
    def check(content):
        array, expected = attempt(parse_idx, content, "file"), idx_content(content)
        if array is REFUSED:
            # NumPy has no array of more dimensions, or of such a size beside a 0
            assert expected is None or len(expected[0]) > 64 or math.prod(expected[0]) == 0
            return False
        assert array.dtype == np.uint8
        assert (array.shape, array.tobytes()) == expected
        return True

    fuzz(2000, generated(IDX) | HEADERS, check)


def test_pairs_of_idx(tmp_path):
    paths = tmp_path / "images", tmp_path / "labels"

    def check(contents):
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        part = attempt(read_idx_pair, *paths)
        if part is REFUSED:
            return False
        (shape, pixels), (length, labels) = map(idx_content, contents)
        assert shape == (*length, 28, 28)
        assert part.X.shape == (*length, 784)
        assert (part.X.tobytes(), part.y.tobytes()) == (pixels, labels)
        assert not set(labels) - set(range(10))
        return True

    labels = st.binary(min_size=2, max_size=2).map(lambda values: idx((2,), values))
    images = st.sampled_from(IDX[:1]) | damaged(IDX[:1])
    fuzz(400, st.tuples(images, labels | st.sampled_from(IDX[1:2]) | damaged(IDX[1:2])), check)


# params.yaml

PARAMS = (ROOT / "params.yaml").read_bytes()
YAML_TOKENS = [
    *(b"&a ", b"*a", b"<<: *a\n", b"!!bool x", b"!!int ''", b"!!timestamp x", b"!!set {a}"),
    *(b"!!map [a, b]", b"!!binary x", b"!!float x", b"!!python/name:os.system ''", b"!!null 1"),
    b"!!python/object/apply:os.system ['touch sentinel']",
    b"!!python/object/apply:pathlib.Path [1]",
    *(b"2001-99-99", b"1e999", b"-.inf", b".nan", b"0x", b"1_0", b"1:99", b"9" * 5000, b"~", b"= "),
    *(b"${seed}", b"${oc.env:HOME}", b"${", b"???", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\t"),
    *(b"? ", b": ", b"- ", b"\n---\n", b"...\n", b"%YAML 9.9\n", b"| \n", b"#", b'"a\\nb"', b"'"),
    *(b'"\\ud800"', "é\u2028\u0085".encode(), b"[" * 300, b"{a: " * 300, b"[]", b"{}"),
]
LAUGHS = b"a0: &a0 [x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 12)
)


def check_params(path):
    config = attempt(load, path)
    if config is REFUSED:
        return False
    assert isinstance(config, Config)
    for section in (config.network, config.classifier, config.autoencoder):
        assert 0 < section.learning_rate < math.inf
        assert all(type(size) is int and size > 0 for size in section.hidden_layer_sizes)
    assert 0 < config.mnist.test_size < 1
    assert 0 <= config.seed < 2**32
    return True


def test_damaged_params(tmp_path):
    path = tmp_path / "params.yaml"

    def check(content):
        path.write_bytes(content)
        return check_params(path)

    fuzz(450, generated([PARAMS, PARAMS, LAUGHS], YAML_TOKENS), check)


def test_params_of_wrong_types(tmp_path):
    path = tmp_path / "params.yaml"

    def check(tree):
        path.write_text(json.dumps(tree), encoding="utf-8")  # JSON is YAML, too
        return check_params(path)

    fuzz(150, mutated(yaml.safe_load(PARAMS)), check)


# Overrides

KEYS = [
    *("seed", "network", "network.seed", "network.activation", "grid.init", "search.learning_rate"),
    *("network.hidden_layer_sizes", "tracking", "tracking.uri", "experiment", "mnist.test_size"),
    *("network@classifier", "hydra.sweeper", "hydra.sweeper.params", "hydra.run.dir", "hydra"),
    *("hydra/sweeper", "hydra/launcher", "hydra.sweeper._target_", "nosuch", "a.b.c", "", "seed."),
]
VALUES = [
    *(
        "1",
        "-1",
        "0.5",
        "nan",
        "inf",
        "1e999",
        "9" * 5000,
        "null",
        "true",
        "tanh",
        "smoke",
        "mlflow",
    ),
    *("[tanh]", "[1,2]", "[]", "{}", "{a:1}", "[", "}", "'", '"a\nb"', "'a b'", "???", "${seed}"),
    *("${nokey}", "${oc.env:HOME}", "${oc.decode:x}", "${", "\\", "é", "\u2028", "\x1b[2J", "a=b"),
    *("1,2", "choice(1,2)", "choice()", "range(3)", "range(0,9,0)", "range(0,nan)", "range(5,5)"),
    *("range(0,1,1e-12)", "range(10000000000)", "shuffle(range(1000000000))", "interval(0,1)"),
    *("glob(*)", "glob([)", "sort(3,1)", "sort(1,a)", "shuffle(1,2)", "tag(a,1)", "int(x)", "int("),
    *("../../params", "/etc/passwd", "sqlite:///a", "http://u:p@h", "://" * 9999),
    *(nested("[", "1", "]", 60), nested("{a:", "1", "}", 60), nested("${", "a", "}", 60)),
    *(nested("[", "1", "]", 600), "[" * 600, ",".join(map(str, range(300)))),
]
OVERRIDES = st.lists(
    st.builds(
        lambda *parts: "".join(parts),
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from(KEYS) | st.text(max_size=5),
        st.sampled_from(["=", "=", "=", ""]),
        st.sampled_from(VALUES) | st.text(max_size=8),
    )
    | st.sampled_from(["seed=1", "network.activation=relu", "tracking=off", "experiment=smoke"]),
    min_size=1,
    max_size=3,
)


def test_overrides():
    def check(overrides):
        config = attempt(compose, CONF, overrides)
        assert config is REFUSED or isinstance(config, Config)
        return config is not REFUSED

    fuzz(100, OVERRIDES, check)


def test_command_lines(monkeypatch):
    def check(command):
        overrides, options = command
        monkeypatch.setattr(sys, "argv", ["stage", *options, "--", *overrides])
        config = attempt(check_jobs, CONF, "train_network", ["network"])
        assert config is REFUSED or isinstance(config, Config)
        return config is not REFUSED

    fuzz(50, st.tuples(OVERRIDES, st.sampled_from([[], ["-m"]])), check)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("seed=range(10000000000)", f"at most {MOST_JOBS} jobs"),
        ("seed=range(0,1,1e-12)", f"at most {MOST_JOBS} jobs"),
        ("seed=range(5,5)", "should have a job"),
        ("hydra.sweeper=5", "_target_"),
        ("hydra.sweeper._target_=???", "Missing mandatory value"),
        ("seed=range(0,9,0)", "must not be zero"),
    ],
)
def test_sweeps_that_cannot_be_run_say_why(monkeypatch, override, reason):
    monkeypatch.setattr(sys, "argv", ["stage", "-m", override])
    with guarded(), pytest.raises(RetraceError, match=reason):
        check_jobs(CONF, "train_network", ["network"])


def test_a_sweep_chooses_from_the_groups_that_are_there():
    options = {f"experiment={path.stem}" for path in (CONF / "experiment").glob("*.yaml")}
    jobs = expand(["experiment=glob(*)", "seed=1"], "file", CONF)
    assert {tuple(job) for job in jobs} == {(option, "seed=1") for option in options}


# Files of metrics

JSON_TOKENS = [
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b'"\\ud800"', b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"[" * 300, b'{"a":' * 300, b"[]", b"{}", b'"ours": ', b"null", b",", b'"'),
]


def whole_files(*names):
    return [(METRICS / name).read_bytes() for name in names]


def reader_of_bytes(read, path, is_right):
    def check(content):
        path.write_bytes(content)
        value = attempt(read, path)
        assert value is REFUSED or is_right(value)
        return value is not REFUSED

    return check


def test_json(tmp_path):
    def is_plain(value):
        return isinstance(value, dict | list | str | int | float | None)

    check = reader_of_bytes(files.read_json, tmp_path / "a.json", is_plain)
    fuzz(700, generated(whole_files("environment.json", "mnist.json"), JSON_TOKENS), check)


def test_yaml(tmp_path):
    wholes = [b"a: [1, 2.5]\nb: {c: adam}\n", b"- x: 1\n  y: 'a'\n- null\n", LAUGHS]
    check = reader_of_bytes(files.read_yaml, tmp_path / "a.yaml", lambda value: True)
    fuzz(500, generated(wholes, YAML_TOKENS), check)


@pytest.mark.parametrize(
    "content",
    [
        b"!!bool x",
        b"!!int ''",
        b"!!int x",
        b"!!timestamp x",
        b"2001-99-99",
        b"a: [1",
        b"9" * 5000,
        b"1" + b":0" * 400 + b".0",
        b"a: &a {x: 1}\nb: {<<: *a}",
    ],
)
def test_yaml_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert attempt(files.read_yaml, path) is REFUSED


def test_tables(tmp_path):
    def is_table(value):
        return isinstance(value, pd.DataFrame) and len(value.columns) > 0

    wholes = [b"a,b\n1,2.5\n3,\n", b'"a","b"\n"x,y",NaN\n', b"a\n\n1\n"]
    tokens = [b",", b'"', b"\r", b"\n", b"\x00", b"\xff", b"1e999", b"9" * 400, b"," * 300, b"'"]
    check = reader_of_bytes(files.read_table, tmp_path / "a.csv", is_table)
    fuzz(700, generated(wholes, tokens), check)


@pytest.mark.parametrize(
    ("read", "name"), [(read_runs, "replicates.csv"), (read_curves, "replicates_curves.csv")]
)
def test_tables_of_sweeps(tmp_path, read, name):
    lines = (METRICS / name).read_bytes().splitlines(keepends=True)
    header = lines[0].decode().strip().split(",")

    def is_whole(table):
        return list(table) == header and all(isinstance(digest, str) for digest in table["params"])

    check = reader_of_bytes(read, tmp_path / name, is_whole)
    fuzz(250, generated([b"".join(lines[:4]), b"".join(lines[:1])], [b",", b'"', b"\n"]), check)


# What is done with numbers that are not where, or what, they should be

SUMMARY = json.loads((METRICS / "summary.json").read_text())
TREE = {
    "params": yaml.safe_load(PARAMS),
    "summary": SUMMARY,
    "verdict": {
        "level": 0.95,
        "by_number": {
            path: {name: number[name] for name in ("sd", "n_used", "kind")}
            for path, number in files.read_json(METRICS / "verdict.json")["by_number"].items()
        },
    },
    "words": json.loads((METRICS / "verdict_words.json").read_text()),
}


def test_a_summary_for_reviewers_of_wrong_content():
    def check(tree):
        text = attempt(compare.markdown, "main", TREE, tree)
        assert text is REFUSED or text.startswith("## Results against `main`\n")
        return text is not REFUSED

    fuzz(200, mutated(TREE).filter(lambda tree: set(tree) == set(TREE)), check)


def test_damaged_files_in_a_summary_for_reviewers(tmp_path):
    (tmp_path / "metrics").mkdir()
    before = compare.read_tree(ROOT)

    def check(files):
        for name, content in zip(("params.yaml", "metrics/summary.json"), files, strict=True):
            (tmp_path / name).write_bytes(content)
        tree = attempt(compare.read_tree, tmp_path)
        return (
            tree is not REFUSED and attempt(compare.markdown, "main", before, tree) is not REFUSED
        )

    params = st.sampled_from([PARAMS]) | damaged([PARAMS, LAUGHS], YAML_TOKENS)
    summary = (METRICS / "summary.json").read_bytes()
    fuzz(
        120, st.tuples(params, st.sampled_from([summary]) | damaged([summary], JSON_TOKENS)), check
    )


def leaves(tree, path=()):
    """Path and value of everything in nested mappings and lists that is no container."""
    if not isinstance(tree, dict | list):
        yield path, tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(value, (*path, key))


def test_numbers_beside_others_that_are_laid_out_otherwise():
    published = yaml.safe_load((METRICS / "published.yaml").read_bytes())["mnist_grid"]

    def check(sides):
        pairs = attempt(study.compare, *sides, refusing=ValueError)
        if pairs is REFUSED:
            return False
        told, ours = (dict(leaves(side)) for side in sides)
        for (*path, side), value in leaves(pairs):
            assert (told if side == "published" else ours).get(tuple(path)) is value
        return True

    fuzz(300, st.tuples(st.just(published) | mutated(published), mutated(published)), check)


@pytest.mark.parametrize(
    ("published", "ours"), [({"a": 1, 1: 2}, {"a": 1}), ({"a": 1}, {"a": 1, None: 2})]
)
def test_names_of_different_types_are_refused(published, ours):
    assert attempt(study.compare, published, ours, refusing=ValueError) is REFUSED


@pytest.mark.parametrize("summary", [5, "a", {"a": 5}, {"a": "b"}, {"a": None}])
def test_what_is_no_number_is_refused(summary):
    assert attempt(lambda: list(numbers.numbers_of(summary)), refusing=ValueError) is REFUSED


def test_damaged_rules(tmp_path):
    path = tmp_path / "rules.yaml"
    rules = yaml.safe_load((METRICS / "rules.yaml").read_bytes())

    def check(content):
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return attempt(read_rules, path, CLAIMS, MEASURES) is not REFUSED

    fuzz(100, mutated(rules), check)


@st.composite
def other_numbers(draw, summary):
    """Draw a summary with any numbers for up to six of ours."""
    summary = copy.deepcopy(summary)
    ours = [place for place, key in places(summary) if key == "ours"]
    for place in draw(st.lists(st.sampled_from(range(len(ours))), max_size=6)):
        if not isinstance(ours[place]["ours"], str):
            ours[place]["ours"] = draw(st.none() | st.integers() | st.floats())
    return summary


def test_every_number_gets_a_verdict():
    sizes = {"full": 8000, "train": 6400, "val": 1600}
    evidence = numbers.Evidence(
        read_rules(METRICS / "rules.yaml", CLAIMS, MEASURES),
        read_runs(METRICS / "replicates.csv"),
        read_runs(METRICS / "sensitivity.csv"),
        sizes,
    )

    def check(summary):
        with guarded():
            judged = numbers.judge(summary, evidence)
        assert {number.verdict for number in judged} <= set(numbers.VERDICTS)
        assert all(n.ours is not None or n.verdict == numbers.NOT_TESTABLE for n in judged)
        return True

    fuzz(12, other_numbers(SUMMARY), check, refusals=False)


# The worst kinds, each in a process of its own that is ended when it takes too much

PROBE = """
import importlib, resource, sys
from pathlib import Path
import psutil
from mlcore.errors import RetraceError

module, name = sys.argv[1].split(":")
read = getattr(importlib.import_module(module), name)
used = psutil.Process().memory_info()
resource.setrlimit(resource.RLIMIT_AS, (used.vms + 2**31,) * 2)
seconds = round(sum(psutil.Process().cpu_times()[:2])) + 3
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
try:
    read(Path(sys.argv[2]))
except RetraceError as error:
    # Not getrusage, whose peak may be that of the process before
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    print(len(str(error)), len(str(error).splitlines()), peak - used.rss)
"""

LOAD = "mlcore.config:load"
JSON, YAML = "mlcore.files:read_json", "mlcore.files:read_yaml"
NESTED = b"[" * 100_000
MERGES = b"a0: &a0 {x: 1}\n" + b"".join(
    b"a%d: &a%d {<<: [%b]}\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        pytest.param(LOAD, PARAMS + LAUGHS, id="aliases"),
        pytest.param(LOAD, PARAMS + b"a: ${b}${b}\nb: " + b"x" * 2**20, id="interpolations"),
        pytest.param(LOAD, NESTED, id="nested parameters"),
        pytest.param(LOAD, b"tracking: {uri: '" + b"://" * 10**6 + b"'}", id="half a URI"),
        pytest.param(JSON, NESTED, id="nested JSON"),
        pytest.param(YAML, NESTED, id="nested YAML"),
        pytest.param(YAML, MERGES, id="merged keys"),
    ],
)  # fmt: skip
def test_the_worst_is_refused_soon_and_in_little_memory(tmp_path, reader, content):
    path = tmp_path / "input"
    path.write_bytes(content)
    result = subprocess.run(
        [sys.executable, "-c", PROBE, reader, path],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    length, lines, grown = map(int, result.stdout.split())
    assert length < 3000
    assert lines == 1
    assert grown < 2**28
    assert [path.name for path in tmp_path.iterdir()] == ["input"]
