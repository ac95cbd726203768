"""Extraction where several processes share the work: a plan, parts that anybody makes in any order, and the merge.

1. `planning`: the source becomes parts, each so many images; one line a part, however many images there are.
2. `making`: a part is computed and commits itself. Made twice, it is there once.
3. `merging`: once all parts are there, the folder becomes the one that a single run writes, byte for byte.

Between them nothing is kept but files in a `place`, which are created whole and never over one another: no lock, no
coordinator, no renaming. Whatever schedules processes can schedule parts (`feature_extraction.engines`).
"""
