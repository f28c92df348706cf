"""The report of a study: what a person looks at.

plan, history, answer --> gather.py --> content.py --> decision.py, sections.py --> page.py --> HTML
                                                       elements.py, plots.py        page.html, style.css

kept.py holds on to the last one, so that it need not be made again.
"""
