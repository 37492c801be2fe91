"""Run by torchrun: encode and regress; stepwise EM if the second argument asks for it.

If the second argument is the path of a file, rank 1 is killed once and creates that file to record it.
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
    """Kills this process in the middle of the work, in the first run only."""

    def kill():
        while not list(root.glob("encodings/conv1/fold-0/fisher/*.h5")):
            time.sleep(0.005)
        memory.write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


if len(sys.argv) > 2 and sys.argv[2] != "stepwise" and distributed.rank() == 1 and not Path(sys.argv[2]).exists():
    die_once(Path(sys.argv[2]))
mixture.STEPS = 4  # steps of nine of the 36 training slices, in at least two batches: a third rank has at most one
method = "stepwise" if "stepwise" in sys.argv else "exact"
for layer in ("conv1", "fc6"):
    settings = EncodeSettings(layer=layer, components=4, dimensions=10, passes=4, batch_size=4, method=method)
    encode_slices(root, settings)
    regress_encoding(root, layer=layer)
distributed.stop()
