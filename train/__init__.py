"""The compact PyTorch trainer.

networks (from architectures, blocks, external): the models by name. settings (losses, targets): what they learn.
trainer (data, step, optimizer): the training; checkpoint: resuming it; tensorboard: its log.
activations: the maps of one layer, the input of Fisher vectors. patches: the patch baseline.
"""
