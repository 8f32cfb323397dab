"""One live driver per name: a lease that needs nothing of a store but `put_if_absent`.

The lease of a name is a row of generations, `lease/NAME/000001.json`, `000002.json`, ... The driver that creates
the next one holds the lease, and all lower ones are void. The holder counts in `000002.beat` from a thread; who
wants the lease finds out whether the holder is dead:

- it wrote that it released, or
- it ran on this machine, since the same boot, and its process is gone: taken over at once, or
- it ran elsewhere and its beat did not change for `ttl_s` seconds of the challenger's own clock. Clocks of two
  machines are never compared.

A driver that was only asleep learns from `Lease.lost` that another took over; until its next beat both may work.
That costs time and nothing else, for the same job writes the same bytes to the same place.

Read in this order: `owners` (who), `generations` (the objects in the store), `leases` (taking, beating, giving back).
"""

from dreamjobs.lease.leases import Lease, acquire
from dreamjobs.lease.owners import Owner, Surroundings

__all__ = ["Lease", "Owner", "Surroundings", "acquire"]
