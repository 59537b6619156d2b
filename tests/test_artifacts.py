"""Files: whole or absent, the same bytes for the same values, and refused when damaged."""

import time
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from mlcore import files
from mlcore.errors import RetraceError
from mlcore.training.weights import load_mlp, save_mlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FLOATS = [0.1 + 0.2, 1 / 3, -1e-300, 5e-324, 1.7976931348623157e308, 123456789.12345679, 0.0]
X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refuse(reader, path, match=None):
    with pytest.raises(RetraceError, match=match) as error:
        reader(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_json_has_not(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": [value]})
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.json"]


DAMAGED = {
    files.read_json: ("JSON", [b"", b"{", b'{"a": }', b"\xff\xfe", b"[1, 2"]),
    files.read_yaml: ("YAML", [b"a: [1", b"a: b: c", b"\xff\xfe\xff", b"a: \x00",
                               b"a: !!python/object/apply:os.mkdir [made]"]),
    files.read_table: ("CSV table", [b"", b"\n", b"a,b\n1,2\n1,2,3\n", b"a,b\n\xff\xfe,1\n"]),
    files.load_arrays: ("array file", [b"", np.random.default_rng(0).bytes(500), b"a,b\n1,2\n",
                                       b"\x80\x05.", b"PK\x03\x04" + bytes(60),
                                       b"\x93NUMPY\x01\x00" + bytes(60)]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "kind", "content"),
    [(reader, kind, content) for reader, (kind, all_) in DAMAGED.items() for content in all_],
)
def test_what_is_damaged_or_something_else_is_refused(tmp_path, monkeypatch, reader, kind, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(content)
    refuse(reader, tmp_path / "a", f"is not (a )?valid {kind}")
    assert names_in(tmp_path) == ["a"]


def test_atomic_path_replaces_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["a.txt"]


def fail_in_block(path, error):
    with files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_atomic_path_leaves_what_was_there_after_an_exception(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    for name in ("a.txt", "new.txt"):
        with pytest.raises(error):
            fail_in_block(tmp_path / name, error)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "before").touch()
    return tmp_path / "folder"


def test_a_new_folder_takes_the_place_of_one_or_is_made_with_those_above_it(folder):
    with files.atomic_folder(folder) as new:
        (new / "after").touch()
        assert names_in(folder) == ["before"]
    assert names_in(folder.parent) == ["folder", "folder/after"]
    with files.atomic_folder(folder / "a" / "b") as new:
        (new / "c").touch()
    assert names_in(folder) == ["a", "a/b", "a/b/c", "after"]


def write_folder(folder, name):
    with files.atomic_folder(folder) as new:
        (new / "after").touch()
        (new / name).touch()


@pytest.mark.parametrize("broken", ["block", "rename"])
def test_a_folder_stays_as_it_was_where_a_new_one_fails(folder, broken, monkeypatch):
    rename = Path.rename

    def failing(self, target):
        if broken == "rename" and self.name == "new":
            raise OSError("name too long")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="name too long"):
        write_folder(folder, "b" * 300 if broken == "block" else "b")
    assert names_in(folder.parent) == ["folder", "folder/before"]


def write_mlp(path):
    save_mlp(path, MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y))


WRITTEN = {
    "a.json": (lambda path: files.write_json(path, {"b": [2.5, None], "a": {"z": 1, "y": "ä"}}),
               b'{\n  "a": {\n    "y": "\\u00e4",\n    "z": 1\n  },\n'
               b'  "b": [\n    2.5,\n    null\n  ]\n}\n'),
    "a.csv": (lambda path: files.write_table(path, [{"epoch": 1, "loss": 0.5},
                                                    {"epoch": 2, "loss": 0.1 + 0.2}]),
              b"epoch,loss\n1,0.5\n2,0.30000000000000004\n"),
    "a.npz": (lambda path: files.save_arrays(path, b=np.eye(3), a=np.arange(4)), None),
    "mlp.npz": (write_mlp, None),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_same_values_give_the_same_bytes_in_folders_that_are_made(monkeypatch, tmp_path, name):
    (write, content), later = WRITTEN[name], tmp_path / "some" / "later" / name
    write(tmp_path / name)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    write(later)
    assert (tmp_path / name).read_bytes() == later.read_bytes()
    assert content in (None, later.read_bytes())
    assert later.stat().st_mode & 0o777 == 0o644  # others may read it


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {
        "X": np.arange(6, dtype=np.float32).reshape(2, 3),
        "y": np.array([3, 255], np.uint8),
        "name": np.array("relu"),
        "allow": np.zeros(0),
    }
    files.save_arrays(path, **arrays)
    by_numpy = np.load(path, allow_pickle=False)
    for back in (files.load_arrays(path), dict(by_numpy)):
        assert set(back) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array, strict=True)
    by_numpy.close()


def test_arrays_of_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        files.save_arrays(tmp_path / "a.npz", X=np.array([{}], dtype=object))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("model_class", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(5, 4), tuple(range(2, 14))], ids=str)
def test_mlp_comes_back_as_it_was(tmp_path, model_class, activation, sizes):
    shape = {"hidden_layer_sizes": sizes, "activation": activation}
    model = model_class(**shape, max_iter=2, random_state=0).fit(X.astype(np.float32), Y)
    save_mlp(tmp_path / "mlp.npz", model)
    back = load_mlp(tmp_path / "mlp.npz")
    assert back.activation == activation
    theirs = [*model.coefs_, *model.intercepts_]
    for our, their in zip([*back.weights, *back.biases], theirs, strict=True):
        np.testing.assert_array_equal(our, their, strict=True)


@pytest.mark.parametrize(
    "arrays",
    [
        {"X_train": np.eye(2), "y_train": np.arange(2), "X_val": np.eye(2)},
        {"weights_0": np.eye(2), "biases_0": np.zeros(2), "other": np.zeros(1)},
        {"weights_0": np.eye(2), "activation": np.array("relu"), "x": np.zeros(1)},
    ],
)
def test_arrays_that_are_no_mlp_are_refused(tmp_path, arrays):
    path = tmp_path / "mlp.npz"
    np.savez(path, **arrays)
    refuse(load_mlp, path, "is not a saved MLP: it lacks ")


def test_table_gives_floats_back_exactly(tmp_path):
    path = tmp_path / "a.csv"
    files.write_table(path, [{"i": i, "x": x} for i, x in enumerate(FLOATS)])
    table = files.read_table(path)
    assert list(table) == ["i", "x"]
    assert table["x"].tolist() == FLOATS
    assert table["i"].tolist() == list(range(len(FLOATS)))


def test_damaged_arrays_are_refused_but_for_a_bit_in_the_directory_that_may_not_matter(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, x=np.arange(6.0).reshape(2, 3), name=np.array("relu"))
    content = path.read_bytes()
    value = content.index(np.float64(5).tobytes())
    flipped = content[:value] + b"\1" + content[value + 1 :]
    for damaged in (*(content[:length] for length in range(len(content))), flipped):
        path.write_bytes(damaged)
        refuse(files.load_arrays, path, "is not a valid array file")
    for i, bit in product(range(content.index(b"PK\x01\x02"), len(content)), (0, 6)):
        path.write_bytes(content[:i] + bytes([content[i] ^ (1 << bit)]) + content[i + 1 :])
        with suppress(RetraceError):
            files.load_arrays(path)
