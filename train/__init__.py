"""The compact PyTorch trainer.

architectures, blocks → networks: what is trained, by name.  losses, targets → settings: what it is asked for.
data → optimizer → trainer: how; checkpoint, watching: what makes a killed training the same and a running one visible.
activations: one layer's maps, where Fisher vectors begin.  patches: the patch baseline.
"""
