"""Names of the columns of results."""

import math

# fmt: off
COLUMNS = (
    "model", "weights", "weights_digest", "readout", "prior", "protocol", "layer", "layer_index", "feature_dim",
    "input_dim", "sample", "label", "level", "draw", "reading", "seed", "threshold", "signal", "metric", "distance",
    "spread", "best_distance", "best_step", "feature_distance", "recovered_feature_distance", "loss", "floor", "scale",
    "dead", "tolerance", "verdict", "steps", "restarts", "seconds", "setting", "key",
)
# fmt: on
"""Columns of every results table; further metrics follow."""

TRAJECTORY = ("trajectory_step", "trajectory_loss", "trajectory_distance", "trajectory_recovered_feature_distance")
"""Columns that hold a list per problem: its values at the recorded steps."""

TOKENS = ("true_tokens", "recovered_tokens", "wrong_tokens")
"""Columns of texts that hold a list per problem: tokens, and positions of wrong ones. ``true_text`` and
``recovered_text`` hold whole texts."""

SORTED = ("model", "setting", "layer_index", "sample", "draw", "level", "reading")
"""Columns that tables of results are sorted by."""

JUDGED = ("distance", "loss", "floor", "scale", "tolerance", "dead")
"""Columns that verdicts need, beside a threshold."""

LATER = {"readout": None, "reading": 0, "signal": "input", "spread": math.nan}
"""Columns that older parts lack, with the value that stands for them."""

NEEDED = {"key", "layer", "threshold", *SORTED, *JUDGED} - LATER.keys()
"""Columns that every part must have."""
