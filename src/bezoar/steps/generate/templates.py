"""Names and slots of the schemes' prompt templates, shared by prompt files, schemes and the embedded world."""

OPERATIONS = ("constraint", "deepen", "concretise", "reasoning", "complicate", "breadth")  # of Evol-Instruct
LAMINI: dict[str, tuple[str, ...]] = {
    "example_guided": ("count", "examples"),
    "topic_guided": ("count", "examples", "topics"),
    "answer_system": (),
}
REVISE: dict[str, tuple[str, ...]] = {
    "critique": ("instruction", "response"),
    "revision": ("instruction", "response", "critique"),
}
EVOL: dict[str, tuple[str, ...]] = {**dict.fromkeys(OPERATIONS, ("instruction",)), "equal": ("first", "second")}
