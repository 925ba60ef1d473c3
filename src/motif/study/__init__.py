"""What people prefer: paired forced-choice studies of two folders of pictures, as the papers ran them.

    motif.study.make("ours", "baseline", "study", refs="photos/cat")    # the study's folder
    motif study serve study                                             # raters answer in a browser
    print(motif.study.score("study"))                                   # percentages, intervals, agreement

`make` copies the pictures under names that tell nothing; `serve` keeps every answer before it asks for the next.
"""

from motif.study.make import make
from motif.study.score import score

__all__ = ["make", "score"]
