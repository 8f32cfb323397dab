"""What a RUN was asked, what it has, what is left and why; and whether it all holds."""

from dreamjobs.ledger.audit import Audit, Broken, Status, fix, status, verify
from dreamjobs.ledger.index import Index, Reason
from dreamjobs.ledger.record import RunRecord, Shard, claim, load_record, own_manifest, planned

__all__ = [
    "Audit",
    "Broken",
    "Index",
    "Reason",
    "RunRecord",
    "Shard",
    "Status",
    "claim",
    "fix",
    "load_record",
    "own_manifest",
    "planned",
    "status",
    "verify",
]
