"""Facts held against other facts: every check of a scan, a pair, a mask and a cohort, by name.

`catalogue` says what each check asks, its limits and where they come from; `finding` what a check says and who may
overrule it; `scan`, `pair`, `mask` and `cohort` ask.
"""
