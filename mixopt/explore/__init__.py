"""`mixopt explore`: a page on which shares are moved, and what is expected of the mixture is seen at once.

subject ──▶ what_if (numbers) ──▶ views, pictures (what they look like) ──▶ layout, callbacks ──▶ server
"""
