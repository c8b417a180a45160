"""FastChat's reading of a judgment, as it is, for the column that compares with its tables.

The rule of fastchat/llm_judge/common.py of lm-sys/FastChat at 0e6d3e4b: the first number in double brackets counts,
else the first one in single brackets, in any range. So a list index is a rating, and so is one that is quoted from the
answer. The strict column reads judgments with bezoar.steps.evaluate.mtbench instead.
"""

import re

DOUBLE = re.compile(r"\[\[(\d+\.?\d*)\]\]")
SINGLE = re.compile(r"\[(\d+\.?\d*)\]")
LEADING_ZERO = re.compile(r"0\d")  # Python reads no such number: FastChat stops with an error there


def rating(text: str) -> float | None:
    """The score that FastChat would average; None where it stores -1, which it leaves out, or stops."""
    found = DOUBLE.search(text) or SINGLE.search(text)
    if not found or (LEADING_ZERO.match(found[1]) and set(found[1]) - {"0"} and "." not in found[1]):
        return None
    return float(found[1])
