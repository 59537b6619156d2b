"""Archives of arrays are the same bytes from every Python."""

import hashlib
import struct
import sys
import zipfile

import numpy as np
import pytest

from mlcore import zip_headers
from mlcore.artifacts import load_arrays, save_arrays

ARRAYS = {"X": np.arange(12, dtype=np.uint8).reshape(3, 4), "y": np.arange(3.0)}
MD5 = "3331962d34a54b53015e7e6c00211da3"
"""Of their archive, from Python 3.11.7."""

this_python = zipfile.ZipInfo.FileHeader


def before_3_11_4(entry, zip64=None):
    """What zipfile wrote: the sizes in their own fields too, and the version of a small file."""
    versions = entry.extract_version, entry.create_version
    header = bytearray(this_python(entry, zip64))
    entry.extract_version, entry.create_version = versions
    header[4:6] = struct.pack("<H", entry.extract_version)
    header[18:26] = struct.pack("<LL", entry.compress_size, entry.file_size)
    return bytes(header)


@pytest.fixture
def archive(tmp_path):
    """Gives the MD5 of the arrays' archive as it is written now."""

    def write():
        save_arrays(tmp_path / "arrays.npz", **ARRAYS)
        return hashlib.md5((tmp_path / "arrays.npz").read_bytes()).hexdigest()

    return write


def test_an_older_python_writes_what_later_ones_do(monkeypatch, archive, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 11, 2))
    monkeypatch.setattr(zipfile.ZipInfo, "FileHeader", before_3_11_4)
    monkeypatch.setattr(zip_headers, "_of_this_python", before_3_11_4)
    assert archive() != MD5
    zip_headers.write_as_later_pythons()
    assert archive() == MD5
    found = load_arrays(tmp_path / "arrays.npz")
    np.testing.assert_array_equal(found["X"], ARRAYS["X"])


def test_a_later_python_is_left_alone(monkeypatch):
    monkeypatch.setattr(zipfile.ZipInfo, "FileHeader", this_python)
    monkeypatch.setattr(sys, "version_info", (3, 11, 4))
    zip_headers.write_as_later_pythons()
    assert zipfile.ZipInfo.FileHeader is this_python


def test_this_python_writes_these_bytes(monkeypatch, archive):
    monkeypatch.setattr(zipfile.ZipInfo, "FileHeader", this_python)
    zip_headers.write_as_later_pythons()
    assert archive() == MD5
