"""Default training settings, in a separate module because `ildfv train --help` shows them and must not load torch."""

NETWORK = "cnnf"
LOSS = "logistic"
TARGET = "presence"
EPOCHS = 6
BATCH_SIZE = 16
OPTIMIZER = "adamw"
LEARNING_RATE = 4e-4
SHARDS = 2
AUGMENT = False
BFLOAT16 = False
