"""Requests to models over a network: none is ever paid twice, lost, or sent without being allowed to cost its price.

requests -> calls -> store (answered before?) -> budget -> concurrency limit -> provider -> store, ledger -> completions
"""

EXIT_BUDGET = 75  # a ceiling was reached; EX_TEMPFAIL of sysexits.h: raise it, or start again, and the work goes on
EXIT_FATAL = 77  # a key was refused; EX_NOPERM
