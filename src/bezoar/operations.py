"""The operations of Evol-Instruct by name: what prompt files, the scheme and the embedded world share."""

OPERATIONS = ("constraint", "deepen", "concretise", "reasoning", "complicate", "breadth")
