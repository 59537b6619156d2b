"""Progress: one live line in a terminal, elsewhere a plain line every so often."""

import logging
import time

from tqdm import tqdm

from mlcore.training.run import Observer, Result, Row, Training

log = logging.getLogger(__name__)

NO_LIVE_LINE = "TQDM_DISABLE"
"""Set where stages run side by side: live lines would overwrite each other."""

LINES = 10
"""Plain lines of a training, at every tenth of the way; more where that takes long."""

PATIENCE = 10.0
"""Seconds after which a step is worth a line."""


class Progress(Observer):
    """Shows how far a training is, its losses, and the time left.

    Parameters
    ----------
    live : bool
        Whether as one line that is written over and over, as a terminal allows.
    name : str, optional
        What it is called; default: as the training.
    """

    def __init__(self, live: bool, name: str = "") -> None:
        self.live, self.name = live, name

    def started(self, training: Training) -> None:
        """Begin to count the time."""
        self.label = f"{training.part} {self.name or training.name}"
        self.n_steps, self.unit = training.n_steps, ""
        self.began = self.told = time.monotonic()
        self.bar = tqdm(total=self.n_steps, desc=self.label, leave=False) if self.live else None
        log.info("%s: started", self.label)

    def step(self, row: Row) -> None:
        """Show a step; those of another unit (a search's refit, in epochs) are not counted."""
        unit, *names = row
        self.unit = self.unit or unit
        if unit != self.unit:
            return
        done = int(row[unit])
        losses = {name: f"{row[name]:.4f}" for name in names if name.endswith("_loss")}
        if self.bar is not None:
            self.bar.unit = unit
            self.bar.set_postfix(losses, refresh=False)
            self.bar.update(done - self.bar.n)
        elif (
            done * LINES // self.n_steps > (done - 1) * LINES // self.n_steps
            or time.monotonic() - self.told > PATIENCE
        ):
            self.told = time.monotonic()
            left = (self.told - self.began) / done * (self.n_steps - done)
            shown = "".join(f", {name} {value}" for name, value in losses.items())
            log.info(
                "%s: %s %d of %d%s, %.0f s left", self.label, unit, done, self.n_steps, shown, left
            )

    def finished(self, result: Result) -> None:
        """Say what came out."""
        self._close()
        numbers = ", ".join(
            f"{name} {value:.4f}"
            for name, value in result.metrics.items()
            if name.startswith(("val_", "test_"))
        )
        log.info(
            "%s: %d epochs in %.0f s, %s",
            self.label,
            result.metrics["n_epochs"],
            time.monotonic() - self.began,
            numbers,
        )

    def failed(self, error: BaseException) -> None:
        """Leave the line clean for the error's."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
