"""The compact PyTorch trainer.

networks (with architectures, blocks, external, pretrained): the models by name. settings, objective (with losses,
targets): what a network learns. trainer, run (with data, step, optimizer): training runs. checkpoint: resuming them.
tensorboard: their log. prediction: scores of a trained network. activations: the maps of one layer, from which Fisher
vectors are computed. patches: the patch baseline.
"""
