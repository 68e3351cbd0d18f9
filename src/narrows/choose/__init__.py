"""Which latent, at these bits, in this time: a race of recipes that ends when it is decided.

`race.py` decides from qualities alone whom to drop and when to stop, by the bounds of `leads.py`;
`clock.py` turns minutes into epochs; `procedure.py` trains what the race asks for, with what
`settings.py` shares out to all; `answer.py` says what came of it, `page.py` shows it. Begin with
`race.py`.
"""
