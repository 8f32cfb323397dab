"""What a run will take, before anything is spent: a manifest's work is counted, a little of it is timed.

Read in this order: `work` (a job's amounts), `tally` (their sums), `rates` (seconds for amounts), `calibrate` and
`history` (where rates come from), `ends` (files), `wall` (the time of a run), `sample`, `report`, `plan`.
"""

from dreamjobs.estimate.plan import PlanOptions, plan
from dreamjobs.estimate.report import Estimate

__all__ = ["Estimate", "PlanOptions", "plan"]
