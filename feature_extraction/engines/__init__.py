"""Engines that schedule the parts of a plan on many cores and machines; each has a module with its driver.

A driver sends the same job with each part that is missing to processes of the engine, which run `job.work`, and gives
what became of the parts, in any order. It keeps nothing: one that is killed is started again and goes on.
"""
