"""What is left of the claims on a real model: runs that take longer than a notebook's minute, stored as small records.

`python -m glora_lab.real` makes them, and goes on where it was stopped; `stored_runs` and its like read what the
package carries; `rerun` makes one of the stored runs anew, `localised_anew` one of the cells of `stored_localisation`.
"""

from .changes import stored_changes
from .localisation import localised_anew, stored_localisation
from .merging import stored_drift
from .stored import rerun, stored_runs

__all__ = ["localised_anew", "rerun", "stored_changes", "stored_drift", "stored_localisation", "stored_runs"]
