"""Files of images and splits, against hand-made bytes and scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from idx import idx
from sklearn.model_selection import train_test_split

from mlcore.data import splits
from mlcore.data.images import parse_idx, read_csv, read_idx_pair, read_images
from mlcore.data.splits import Part
from mlcore.errors import RetraceError

RAW_MNIST = Path(__file__).parents[1] / "data" / "raw" / "mnist"
LARGEST = 2**32 - 1
HEADER = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])


def csv(*rows, header=HEADER):
    """A CSV file of images; of a row that is cut short, the last value fills what is left."""
    full = [[*row, *[row[-1]] * (785 - len(row))] for row in rows]
    return "\n".join([header, *(",".join(map(str, row)) for row in full)]) + "\n"


def test_kaggles_files_give_what_the_idx_files_give(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, kaggle, n in (("train", "train", 7), ("t10k", "test", 4)):
        X, y = rng.integers(0, 256, (n, 784)), rng.integers(0, 10, n)
        pixels, labels = bytes(X.ravel().tolist()), bytes(y.tolist())
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx(n, 28, 28, values=pixels))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(n, values=labels))
        rows = csv(*np.column_stack([y, X]).tolist())
        (tmp_path / f"fashion-mnist_{kaggle}.csv").write_text(rows)
    for ours, theirs, n in zip(
        read_images(tmp_path), read_images(tmp_path, "kaggle"), (7, 4), strict=True
    ):
        assert ours.X.shape == (n, 784)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype == np.uint8
            assert a.tolist() == b.tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not a table of images: No columns"),
        ("<html>log in</html>", "the columns should be label, pixel1, ..., pixel784"),
        (csv([1, 2], header=HEADER.replace("label", "class")), "the columns should be label"),
        (csv([1, 2], header=HEADER.replace("pixel9,", "pixel10,", 1)), "the columns should be"),
        (csv([1, 2], header=HEADER + ",pixel785"), "the columns should be label, pixel1, ..., "),
        (csv([1, 2]) + "3,4,5\n", "pixels should be whole numbers from 0 to 255"),
        (csv([1, 2]) + "3,4" * 800, "is not a table of images: Error tokenizing"),
        *(
            (csv([1, 7], [1, 7, value]), "pixels should be whole numbers from 0 to 255")
            for value in (256, -1, 0.5, "", "x", "1e3", "nan", 2**70)
        ),
        (csv([9, 0], [10, 0]), "has the label 10; labels go from 0 to 9"),
    ],
)
def test_a_file_that_is_not_as_kaggles_is_refused_in_a_line(tmp_path, content, reason):
    path = tmp_path / "images.csv"
    path.write_text(content)
    with pytest.raises(RetraceError) as error:
        read_csv(path)
    assert str(error.value).startswith(str(path))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "missing"),
    [("idx", "train-images-idx3-ubyte"), ("kaggle", "fashion-mnist_train.csv")],
)
def test_files_that_are_not_there_are_named(tmp_path, source, missing):
    with pytest.raises(RetraceError, match=f"{missing} does not exist; `dvc repro fetch` gets it"):
        read_images(tmp_path, source)


def numbered(start, stop):
    """A part whose pixels are the numbers of its images."""
    ids = np.arange(start, stop)
    return Part(ids.reshape(-1, 1), (ids % 10).astype(np.uint8))


def ids_of(part):
    return part.X[:, 0].tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *(
            (content, " is not an IDX file of unsigned bytes$")
            for content in (b"", b"\0\0\x08", idx(1, values=b"\5", magic=b"\1\0\x08"),
                            idx(1, values=b"\5", magic=b"\0\1\x08"), b"<html>not found</html>",
                            idx(1, values=bytes(4), magic=b"\0\0\x0d"))  # of floats
        ),
        (b"\0\0\x08\0", ": the IDX header is cut short"),
        (b"\0\0\x08\1\0\0\0", ": the IDX header is cut short"),
        (idx(3), r": the IDX header says \[3\], the file has 0 values"),
        (idx(2, 2, values=b"abc"), r": the IDX header says \[2, 2\], the file has 3 values"),
        (idx(0, values=b"a"), r": the IDX header says \[0\], the file has 1 values"),
        (idx(*(2**16,) * 4), ".*, the file has 0 values"),  # 2**64 wraps to 0
        (idx(*(LARGEST,) * 255), ".*, the file has 0 values"),
        (idx(*[1] * 65, values=b"x"), ""),  # NumPy has no such shapes
        (idx(0, LARGEST, LARGEST, LARGEST), ""),
    ],
)  # fmt: skip
def test_parse_refuses_what_is_not_idx_of_bytes_or_does_not_fit(content, reason):
    with pytest.raises(RetraceError, match=f"^some file{reason}"):
        parse_idx(content, "some file")


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (idx(2, 28, 28, values=bytes(2 * 784)), idx(3, values=bytes(3)), "they do not belong"),
        (idx(2, 28, 27, values=bytes(2 * 756)), idx(2, values=bytes(2)), "they do not belong"),
        (idx(2, 784, values=bytes(2 * 784)), idx(2, values=bytes(2)), "they do not belong"),
        (idx(2, 28, 28, values=bytes(2 * 784)), idx(2, 1, values=bytes(2)), "they do not belong"),
        (idx(1, 28, 28, values=bytes(784)), idx(1, values=b"\x0a"),
         "has the label 10; labels go from 0 to 9"),
        (b"junk", idx(1, values=b"\x01"), "is not an IDX file"),
    ],
    ids=["counts", "image shape", "flat images", "label shape", "label", "no images"],
)  # fmt: skip
def test_read_pair_refuses_files_that_do_not_belong(tmp_path, images, labels, said):
    paths = tmp_path / "images", tmp_path / "labels"
    for path, content in zip(paths, (images, labels), strict=True):
        path.write_bytes(content)
    with pytest.raises(RetraceError, match=said) as error:
        read_idx_pair(*paths)
    at_fault = {"has": paths[1:], "is": paths[:1]}.get(said.split()[0], paths)
    assert all(str(path) in str(error.value) for path in at_fault)


def held_as_drawn(parts):
    """The numbers of the images by part; each image should have its own label."""
    for part in parts.values():
        assert part.y.tolist() == [i % 10 for i in ids_of(part)]
    return {name: ids_of(part) for name, part in parts.items()}


@pytest.mark.parametrize(
    ("n_samples", "test_size", "seed"),
    [(100, 0.2, 42), (100, 0.2, 0), (70, 0.2, 42), (100, 0.4, 1)],
)
def test_split_equals_scikit_learn_on_the_first_of_train_then_test(n_samples, test_size, seed):
    drawn = train_test_split(list(range(n_samples)), test_size=test_size, random_state=seed)
    val, test = train_test_split(drawn[1], test_size=0.5, random_state=seed)
    parts = splits.split_mnist(
        numbered(0, 60), numbered(60, 100), n_samples=n_samples, test_size=test_size, seed=seed
    )
    assert held_as_drawn(parts) == {"train": drawn[0], "val": val, "test": test}


def test_real_mnist_has_820_ones_in_the_test_part():
    if not RAW_MNIST.is_dir():
        pytest.skip("MNIST has not been fetched")
    parts = splits.split_mnist(*read_images(RAW_MNIST), n_samples=70_000, test_size=0.2, seed=42)
    assert [len(parts[name].X) for name in ("train", "val", "test")] == [56_000, 7_000, 7_000]
    assert int((parts["test"].y == 1).sum()) == 820  # 0.1171 of them


SMALL = numbered(0, 90), numbered(1000, 1040)


def subset(files=SMALL, **options):
    """What is drawn of Fashion-MNIST: the first 50 and 20 images, 10 of these 50 to validate."""
    usual = {"n_train": 50, "n_test": 20, "subset_seed": None, "pooled": False, "stratify": False}
    return splits.subset_fashion(*files, **usual | {"validation_size": 0.2, "seed": 7} | options)


@pytest.mark.parametrize("labels", [None, SMALL[0].y[:50]], ids=["plain", "stratified"])
def test_subset_equals_scikit_learn_on_the_first_images(labels):
    train, val = train_test_split(range(50), test_size=0.2, random_state=7, stratify=labels)
    stratify = labels is not None
    parts = held_as_drawn(subset(stratify=stratify))
    assert (parts["train"], parts["val"]) == (train, val)
    assert parts["test"] == list(range(1000, 1020))
    assert (len({i % 10 for i in val}) == 10) == stratify  # each class in its share


def test_a_subset_seed_draws_images_of_each_file_without_replacement():
    first, again, other = subset(subset_seed=1), subset(subset_seed=1), subset(subset_seed=2)
    for name, size, everything in (("full", 50, range(90)), ("test", 20, range(1000, 1040))):
        ids = ids_of(first[name])
        assert ids == ids_of(again[name])
        assert len(ids) == len(set(ids)) == size
        assert set(ids) < set(everything)
        assert sorted(ids) != list(everything)[:size]
        assert ids != ids_of(other[name])
    assert sorted(ids_of(first["train"]) + ids_of(first["val"])) == sorted(ids_of(first["full"]))
    held_as_drawn(first)


def test_pooled_draws_mix_both_files_and_do_not_overlap():
    def drawn(seed):
        files = numbered(0, 60_000), numbered(60_000, 70_000)
        sizes = {"n_train": 8000, "n_test": 2000, "validation_size": 0.1}
        return held_as_drawn(subset(files, **sizes, subset_seed=seed, pooled=True))

    first = drawn(1)
    assert {name: len(ids) for name, ids in first.items()} == {
        "full": 8000, "train": 7200, "val": 800, "test": 2000,
    }  # fmt: skip
    assert len(set(first["full"] + first["test"])) == 10_000
    for name in ("full", "test"):  # a seventh is of the second file, by five standard deviations
        ids = np.array(first[name])
        assert np.mean(ids >= 60_000) == pytest.approx(1 / 7, abs=5 * (6 / 49 / len(ids)) ** 0.5)
    train, val = train_test_split(first["full"], test_size=800, random_state=7)
    assert (first["train"], first["val"]) == (train, val)
    assert drawn(1) == first != drawn(2)


def test_describe_counts_images_that_should_not_be_there():
    X = np.array([[0, 0], [1, 2], [1, 2], [7, 7], [1, 2], [2, 1]], np.uint8)
    summary = splits.describe({"val": Part(X, np.array([1, 2, 1, 1, 1, 1], np.uint8))})
    assert summary["val"]["constant_images"] == 2
    assert summary["val"]["repeated_images"] == 2
    assert summary["val"]["n_samples"] == 6
    assert summary["val"]["class_counts"] == [0, 5, 1, 0, 0, 0, 0, 0, 0, 0]
    assert summary["val"]["majority_class_share"] == pytest.approx(5 / 6, abs=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("divisor", [255, 1, 127.5])
def test_pixels_are_scaled_as_is_asked(dtype, divisor):
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    for part in splits.from_arrays(arrays_of(pixels), "", dtype=dtype, divisor=divisor).values():
        assert part.X.dtype == dtype
        expected = [[np.dtype(dtype).type(value / divisor) for value in row] for row in pixels]
        np.testing.assert_array_equal(part.X, expected)


@pytest.mark.parametrize(
    ("trained_on", "labels"),
    [("train", {"train": 0, "val": 1, "test": 2}), ("full", {"train": 3, "test": 2})],
)
def test_a_training_takes_all_images_or_those_that_do_not_validate(trained_on, labels):
    arrays = arrays_of(np.zeros((1, 2), np.uint8), ("train", "val", "test", "full"))
    parts = splits.for_training(arrays, "", trained_on)
    assert {name: part.y.item() for name, part in parts.items()} == labels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_normal_and_decided_by_its_seed(dtype):
    X = np.full((200, 500), 0.5, dtype)
    noisy = splits.with_noise(X, 1)
    assert (noisy.dtype, noisy.shape) == (dtype, X.shape)
    z = np.sort((noisy - 0.5).ravel()) / 0.2
    assert [z.mean(), z.std()] == pytest.approx([0, 1], abs=0.02)
    assert np.mean(abs(z) < 1) == pytest.approx(0.6827, abs=0.01)
    assert (noisy == splits.with_noise(X, 1)).all()
    assert (noisy != splits.with_noise(X, 2)).mean() > 0.99
    assert (X == 0.5).all()


def arrays_of(X, names=("train", "val", "test")):
    """A stored split: the same images with one label in every part."""
    return {
        f"{kind}_{name}": X if kind == "X" else np.full(len(X), label, np.uint8)
        for label, name in enumerate(names)
        for kind in "Xy"
    }


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (np.array([[0, 51, 255]], np.uint8), np.array([[0.0, 0.2, 1.0]], np.float32)),
        (np.array([[-3.5, 0.1, 300.0]], np.float32),) * 2,
        (np.array([[-3.5, 0.1, 300.0]], np.float64),) * 2,
    ],
)
def test_stored_bytes_come_back_scaled_and_floats_as_they_are(stored, read):
    arrays = arrays_of(stored)
    parts = splits.from_arrays(arrays, "file")
    assert list(parts) == ["train", "val", "test"]
    for label, part in enumerate(parts.values()):
        assert part.X.dtype == read.dtype
        assert part.X.tobytes() == read.tobytes()
        assert part.y.tolist() == [label]
    back = splits.to_arrays(parts)
    assert back.keys() == arrays.keys()
    assert all(back[f"X_{name}"] is part.X for name, part in parts.items())


@pytest.mark.parametrize("lacking", ["X_train", "y_val", "X_test"])
def test_lacking_array(lacking):
    arrays = arrays_of(np.zeros((1, 2), np.uint8))
    del arrays[lacking]
    with pytest.raises(RetraceError, match=f"some file is not a split: it lacks '{lacking}'"):
        splits.from_arrays(arrays, "some file")
