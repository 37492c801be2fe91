"""Run by torchrun: encode and regress, by stepwise EM if a second argument says so.

Rank 1 is killed once if the second argument names a file to remember it by.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import small  # noqa: F401  registers the network

from ildfv import distributed
from ildfv.pipeline import mixture
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.regress import regress_encoding

root = Path(sys.argv[1])
distributed.start()


def die_once(memory: Path) -> None:
    """Ends this process in the middle of the work, the first time round."""

    def kill():
        while not list(root.glob("encodings/conv1/fold-0/fisher/*.h5")):
            time.sleep(0.005)
        memory.write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


if len(sys.argv) > 2 and sys.argv[2] != "stepwise" and distributed.rank() == 1 and not Path(sys.argv[2]).exists():
    die_once(Path(sys.argv[2]))
mixture.STEPS = 4  # of nine of the 36 training slices, in two batches or more: a third rank has none or one
method = "stepwise" if "stepwise" in sys.argv else "exact"
for layer in ("conv1", "fc6"):
    settings = EncodeSettings(layer=layer, components=4, dimensions=10, passes=4, batch_size=4, method=method)
    encode_slices(root, settings)
    regress_encoding(root, layer=layer)
distributed.stop()
