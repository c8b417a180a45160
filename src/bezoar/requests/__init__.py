"""Requests to models over a network: none is paid for twice, lost, or sent without room in the budget.

requests -> calls -> store (answered before?) -> budget -> concurrency limit -> provider -> store, ledger -> completions
"""

EXIT_BUDGET = 75  # a ceiling was reached; EX_TEMPFAIL of sysexits.h: raise it, or start again, and the work continues
EXIT_FATAL = 77  # a key was refused; EX_NOPERM
