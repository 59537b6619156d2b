"""The same bytes of an .npz file from every Python: zipfile's headers changed with 3.11.4."""

import sys
import zipfile
from typing import Any

ZIP64_VERSION = 45
SIZES = slice(18, 26)
"""Where the two sizes stand in a local file header (APPNOTE.TXT of PKWARE, 4.3.7)."""


def write_as_later_pythons() -> None:
    """Make zipfile of an older Python write what that of 3.11.4 and later does.

    Entries that may become large, as `numpy.savez` writes all, have their sizes in the extra field
    alone since then (https://github.com/python/cpython/issues/103861).
    """
    if sys.version_info < (3, 11, 4):
        zipfile.ZipInfo.FileHeader = _header  # type: ignore[method-assign, assignment]


_of_this_python = zipfile.ZipInfo.FileHeader


def _header(entry: zipfile.ZipInfo, zip64: bool | None = None) -> Any:
    if not zip64:
        return _of_this_python(entry, zip64)
    entry.extract_version = max(entry.extract_version, ZIP64_VERSION)
    entry.create_version = max(entry.create_version, ZIP64_VERSION)
    header = bytearray(_of_this_python(entry, zip64))
    header[SIZES] = b"\xff" * 8
    return bytes(header)
