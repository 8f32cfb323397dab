"""What a RUN was asked, what it has, what is left and why; and whether it all holds."""

from dreamjobs.ledger.audit import Audit, Broken, Mended, Status, mend, status, tally, verify
from dreamjobs.ledger.drivers import Driver
from dreamjobs.ledger.index import Index, Reason
from dreamjobs.ledger.record import RunRecord, Shard, claim, load_record, own_manifest, planned

__all__ = [
    "Audit",
    "Broken",
    "Driver",
    "Index",
    "Mended",
    "Reason",
    "RunRecord",
    "Shard",
    "Status",
    "claim",
    "load_record",
    "mend",
    "own_manifest",
    "planned",
    "status",
    "tally",
    "verify",
]
