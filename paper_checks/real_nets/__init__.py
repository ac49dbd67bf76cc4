"""The claims of the four papers on real nets (`NET-EXP-1`, `NET-SVAG-12`, …); they need the extra `sdetheory[torch]`.

No file here imports torch at its top: the claims can be listed, and skipped by name, where it is missing. On `--device cuda`
the nets, schedules and numbers of seeds are larger; each claim says how.
"""
