"""Whether a study's printed numbers and its claims hold, by runs of it: of any study.

`judge` is the whole of it::

    from mlcore.judging import Evidence, Rules, judge, printed_in

    rule = {"match": "*", "kind": "trained", "runs": "*", "metric": "accuracy", "tolerance": 0.01}
    rules = Rules(numbers=[rule])
    verdict = judge(printed_in({"svm": 0.931, "mlp": 0.944}), Evidence(rules, runs))
    verdict["by_number"]["svm"]["verdict"]  # such as "reproduced"

with `runs` a `pandas.DataFrame` of "name", "seed" and "accuracy".
"""

from mlcore.judging.claims import Claim
from mlcore.judging.numbers import Evidence
from mlcore.judging.published import Printed, printed_in
from mlcore.judging.rules import Rules
from mlcore.judging.verdict import judge

__all__ = ["Claim", "Evidence", "Printed", "Rules", "judge", "printed_in"]
