"""What some of the scripts share."""

FIRST = 0


def number(row):
    """A number that a row's letters make."""
    return sum(map(ord, row), FIRST)
