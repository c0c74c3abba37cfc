"""Audit: which labels of a collection are probably wrong or missing, and what a person who listens says of them.

`ranking` orders the clips of a run by their out-of-fold scores, `findings` gathers what is suspected of each, `report`
writes it down. `decisions` keeps what was decided, safely; `page` is what a person listens and decides with.
"""
