"""How good answers that no model wrote may be to a judge that can be trusted: what their intervals may reach."""

RATINGS = {"empty": 1.5, "filler": 3.0, "spoof": 3.0, "shuffled": 3.0}  # by control, on a scale from 1 to 10
WIN_RATES = {"empty": 0.1, "filler": 0.25, "spoof": 0.25, "self": 0.9}  # of games; `self`: of a seat's points


def on_scale(control: str, scale: tuple[float, float]) -> float:
    """The ceiling of a control's ratings: the same share of every scale."""
    low, high = scale
    return low + (RATINGS[control] - 1) / 9 * (high - low)
