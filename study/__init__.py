"""Does training with the CTPA help a network to read the NCT? The kept results and the pages made of them.

    python -m study            # write the generated tables of docs/result.md and docs/protocol.md again
    python -m study figure     # draw docs/images/forest.png

`results/` holds what the pages need and no more: one row a patient and run, one a clot and run, one a run. A further
study keeps tables of the same form in a folder of its own there, which every function here takes as `folder`.
"""
