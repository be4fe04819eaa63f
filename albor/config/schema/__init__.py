"""Schemas of the config groups: frozen dataclasses, one per choice, with a docstring per field.

The ground floor of the house: plain data and formulas, importable from every room, importing nothing heavy.
"""
