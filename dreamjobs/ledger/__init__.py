"""What a RUN was asked, what it has, what is left and why; and whether it all holds."""

from dreamjobs.ledger.audit import Audit, Broken, Mended, Status, mend, status, tally, verify
from dreamjobs.ledger.drivers import Driver
from dreamjobs.ledger.index import DONE, Index, Reason
from dreamjobs.ledger.record import RunRecord, Shard, claim, load_record, own_manifest, planned
from dreamjobs.ledger.survey import Order, Survey, survey

__all__ = [
    "DONE",
    "Audit",
    "Broken",
    "Driver",
    "Index",
    "Mended",
    "Order",
    "Reason",
    "RunRecord",
    "Shard",
    "Status",
    "Survey",
    "claim",
    "load_record",
    "mend",
    "own_manifest",
    "planned",
    "status",
    "survey",
    "tally",
    "verify",
]
