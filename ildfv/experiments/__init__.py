"""The paper's tables and figures, one file each; presets, systems and lab are what they share."""
