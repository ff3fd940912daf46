"""Lifecycle rules: what they may say (``checks``), what follows from them (``evaluation``), and carrying it out
(``looking`` finds what is due, ``service`` does it, ``runner`` is the task)."""
