"""The catalogue, in the order in which causes are looked at."""

from whyrss.causes import lazyfree

CAUSES = (lazyfree.CAUSE,)
