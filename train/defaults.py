"""Defaults of a training, apart from `settings` because `ildfv train --help` shows them and must not load torch."""

NETWORK = "cnnf"
LOSS = "logistic"
TARGET = "presence"
EPOCHS = 6
BATCH_SIZE = 16
LEARNING_RATE = 4e-4
SHARDS = 2
AUGMENT = False
