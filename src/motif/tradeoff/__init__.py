"""`motif tradeoff`: a grid of concepts x methods x settings x prompts x seeds, as jobs whose results are files.

`spec` reads what is asked, `plan` makes jobs of it, each known by everything it depends on (`digest`), `work` does one,
`scatter` runs them all somewhere, `store` keeps what they give, `table` and `front` sum it up, `report` shows it.
"""
