"""One BLAS thread for the whole process while any of its threads trains or predicts.

More threads are no faster at these sizes, and change the order of the sums and with it the bits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = Lock()
_within = 0
_limits: Any = None


@cache
def _libraries() -> ThreadpoolController:
    """Find the BLAS libraries of NumPy and SciPy, both loaded when this is called."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS to one thread in the block, or in the function that this decorates.

    The number of threads belongs to the process: of blocks that overlap in several threads the
    first to begin sets it, and the last to end puts back what was.
    """
    global _within, _limits
    # threadpoolctl obeys only the thread that set a limit first; the last to end may be another
    release = OpenBLASController.clear_controlling_thread
    with _lock:
        if not _within:
            release(force=True)
            _limits = _libraries().limit(limits=1)
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                release(force=True)
                _limits.restore_original_limits()
                release(force=True)
