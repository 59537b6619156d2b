"""Damaged and hostile IDX files: read exactly, or refused with a reason.

The cases are generated, the same ones every time. RETRACE_FUZZ=n makes n times as many.
"""

import math
import os
import struct
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idx import idx

from mlcore.data.images import parse_idx, read_idx_pair
from mlcore.errors import RetraceError

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
    assert outcomes.keys() == {True, False}


@st.composite
def damaged(draw, wholes):
    """Draw bytes with one to four places replaced, repeated or lost, alone or with what follows."""
    content = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 64)))
        part = draw(st.binary(max_size=16) | st.sampled_from([b"", 3 * content[start:stop]]))
        content = content[:start] + part + draw(st.sampled_from([content[stop:], b""]))
    return content


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
    idx(2, 28, 28, values=bytes(range(196)) * 8),
    idx(2, values=b"\x09\x00"),
    idx(3, 2, values=b"abcdef"),
    idx(0, 28, 28),
    idx(0),
]
SIZES = st.sampled_from([0, 1, 2, 3, 28, 255, 2**16, 2**31, 2**32 - 1])
HEADERS = st.builds(
    lambda shape, values: idx(*shape, values=values),
    st.lists(SIZES, max_size=80),
    st.binary(max_size=8),
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

    fuzz(2000, damaged(IDX) | st.sampled_from(IDX) | st.binary() | HEADERS, check)


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

    labels = st.binary(min_size=2, max_size=2).map(lambda values: idx(2, values=values))
    images = st.sampled_from(IDX[:1]) | damaged(IDX[:1])
    fuzz(400, st.tuples(images, labels | st.sampled_from(IDX[1:2]) | damaged(IDX[1:2])), check)
