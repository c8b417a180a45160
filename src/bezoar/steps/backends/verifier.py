"""The embedded world's rules as a judge: exact and free, but useless outside of that world."""

import json
from typing import Any, ClassVar, Literal

from bezoar import world
from bezoar.errors import InputError
from bezoar.requests.base import Completion, Request, Subject
from bezoar.requests.blocks import BackendBlock

MODEL = "bezoar-world-verifier"
MUCH_BETTER = 5  # ratings between two answers of a pair


class VerifierBackend(BackendBlock):
    """The embedded world's rules as a judge; useless outside of that world."""

    writes: ClassVar[bool] = False

    kind: Literal["verifier"]

    @property
    def gives_logprobs(self) -> bool:
        """Its yes and no to a checklist's items are declared: probabilities of 0 or 1."""
        return True

    def open(self, **_: Any) -> "Verifier":
        """A judge that answers requests."""
        return Verifier()


class Verifier:
    """Grades a request's subject and answers in the form that the request wants."""

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One verdict per request; raises ValueError for a request without a subject."""
        return [_completion(request) for request in requests]


def _completion(request: Request) -> Completion:
    subject = request.subject
    if subject is not None and subject.form == "item":
        said = "Yes" if world.meets(subject.turns, subject.response, subject.item) else "No"
        return Completion(said, "stop", MODEL, alternatives=((said, 0.0),))
    return Completion(_verdict(request), "stop", MODEL)


def _verdict(request: Request) -> str:
    if request.subject is None:
        raise InputError("the verifier only grades; name another backend as teacher")
    if request.subject.form == "items":
        return json.dumps({"items": list(world.ITEMS)})
    grade = world.grade(request.subject.turns, request.subject.response)
    if request.subject.rival is not None:
        return _comparison(grade, request.subject.rival, request.subject)
    if request.subject.form == "result":
        return f"{grade.explanation} [RESULT] {world.fifths(grade.rating)}"
    if request.schema is None:
        return f"{grade.explanation}\nRating: [[{grade.rating}]]"
    reasons = list(grade.reasons)
    if world.held_out(request.subject.turns[-1]):
        reasons.append("held_out")  # evaluations ask this way
    verdict = {
        "reasons": reasons,
        "reason": grade.explanation,
        "rating": grade.rating,
        "status": "reject" if reasons else "accept",
    }
    return json.dumps(verdict)


def _comparison(grade: world.Grade, rival: str, subject: Subject) -> str:
    """A verdict on two answers by their ratings; one that is better by half of the scale is much better."""
    other = world.grade(subject.turns, rival)
    gap = grade.rating - other.rating
    middle = len(subject.labels) // 2
    steps = 0 if gap == 0 else min(middle, 2 if abs(gap) >= MUCH_BETTER else 1)
    label = subject.labels[middle - steps if gap > 0 else middle + steps]
    return f"The first: {grade.explanation}\nThe second: {other.explanation}\nVerdict: [[{label}]]"
