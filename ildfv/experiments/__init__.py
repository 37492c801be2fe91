"""The paper's tables and figures, one file each; presets, systems and context are what they share."""
