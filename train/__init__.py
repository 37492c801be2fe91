"""The compact PyTorch trainer: networks, losses, activations."""
