"""The experiments: the tables and figures of the paper, and additional ones.

A module may import only modules to its left: presets, paper, recipes → context → fitted → label_maps → scoring →
results → tables → one module per experiment → registry → preset_views, checklist, page → run.
"""
