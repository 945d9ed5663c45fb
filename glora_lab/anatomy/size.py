"""How large a matrix may be that is decomposed while somebody waits."""

LARGEST_RANK_ASKED = 1024  # a decomposition of 1024 × 4096 takes about a second, of 4096 × 4096 half a minute
