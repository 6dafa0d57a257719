"""Accepted jobs: the table of them all, how it is filled, and moving a job from one node to another.

table.py is what others read; collect.py fills it from what the nodes say.
"""
