"""The paper's tables and figures.

Imports run one way: presets, paper, recipes → context → fitted → label_maps → scoring → results → tables → one module
per experiment → registry → preset_views, checklist, page → run.
"""
