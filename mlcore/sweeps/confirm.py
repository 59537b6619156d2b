"""Confirm by a sample that trainings of earlier code come out as the code of now would have them.

A refactoring makes every training of a sweep out of date, though it should change none. Trainings
of one sweep that come from the same code and data are a group; if those of its jobs that are run
again come out the same, the others take the digests of the code of now.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from mlcore.judging.replicates import Table
from mlcore.pipeline.digests import GENERATION, PARAMS
from mlcore.sweeps.jobs import Job


class Finished(NamedTuple):
    """A job that was finished with other code or data, and its rows in the table."""

    job: Job
    rows: pd.DataFrame


@dataclass
class Group:
    """Jobs of one sweep whose trainings come from the same code and data.

    Attributes
    ----------
    sweep : str
    finished : list of Finished
    problem : str
        Why it is not confirmed; empty as long as nothing speaks against it.
    places : dict of str to int
        Which of a job's stages trains a part.
    """

    sweep: str
    finished: list[Finished] = field(default_factory=list)
    problem: str = ""
    places: dict[str, int] = field(default_factory=dict)

    def sample(self, n: int) -> list[Job]:
        """Pick so many jobs, each with as many overrides as can be that those before lack."""
        left = [job for job, _ in self.finished]
        picked: list[Job] = []
        overrides, seeds = set[str](), set[int]()
        while left and len(picked) < n:
            news = [(len({*j.overrides} - overrides), j.config.seed not in seeds) for j in left]
            job = left.pop(news.index(max(news)))
            overrides |= {*job.overrides}
            seeds.add(job.config.seed)
            picked.append(job)
        return picked

    def compare(
        self,
        job: Job,
        rows: Sequence[Mapping[str, Any]],
        curves: Sequence[Mapping[str, Any]],
        table: Table,
    ) -> str:
        """Take in how a job came out that was run again.

        Parameters
        ----------
        job : Job
            Of the group.
        rows, curves : sequences of mappings
            Its trainings, and of networks the epochs, as `Table.add` takes them.
        table : Table

        Returns
        -------
        str
            What is other than in the table; empty if nothing is.
        """
        self.places |= {str(row["part"]): job.digests.index(row["digest"]) for row in rows}
        before = next(finished.rows for finished in self.finished if finished.job is job)
        if len(rows) != len(before):
            problem = f"{len(rows)} trainings instead of {len(before)}"
        else:
            problem = table.difference(rows, curves)
        self.problem = self.problem or problem
        return problem

    def new_digests(self) -> dict[str, str]:
        """Give the digests of the code of now, by those that the rows have."""
        return {
            row["digest"]: job.digests[self.places[row["part"]]]
            for job, rows in self.finished
            for _, row in rows.iterrows()
        }


def groups_of(jobs: Iterable[Job], table: Table) -> list[Group]:
    """Give what stands in a table from other code or data than those of now, by where it is from.

    What was trained with other parameters is no part of it.

    Parameters
    ----------
    jobs : iterable of Job
        Which the table does not have from the code of now.
    table : Table
    """
    whole = table.whole()
    groups: dict[tuple[str, ...], Group] = {}
    for job in jobs:
        rows = table.of(job.sweep, " ".join(job.overrides), job.config.seed)
        params = {digest[PARAMS] for digest in job.digests}
        if (
            len(rows)
            and whole.issuperset(rows["digest"])
            and params.issuperset(rows["digest"].str[PARAMS])
        ):
            key = job.sweep, *rows["part"], *rows["digest"].str[GENERATION]
            groups.setdefault(key, Group(job.sweep)).finished.append(Finished(job, rows))
    return list(groups.values())
