"""The catalogue, in the order in which causes are looked at and may claim bytes: the special before the general."""

from whyrss.finding import Entry
from whyrss.gates import always, line

MIB = 1 << 20

CAUSES = (
    # Released, but resident.
    Entry("lazyfree", always, section="Vmas", any_program=True),
    # Used by Go, where it is known for what.
    Entry("fragmentation", line(4 * MIB, "heap/slack")),
    # Kept by Go.
    Entry("scavenger-stuck", line(4 * MIB, "heap/retained")),
    # Settings, which claim no bytes.
    # Used by Go, honestly.
)
