"""Run by torchrun: encode and regress; rank 1 is killed once if a second argument names a file to remember it by."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import small  # noqa: F401  registers the network

from ildfv import distributed
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


if len(sys.argv) > 2 and distributed.rank() == 1 and not Path(sys.argv[2]).exists():
    die_once(Path(sys.argv[2]))
for layer in ("conv1", "fc6"):
    encode_slices(root, EncodeSettings(layer=layer, components=4, dimensions=10, passes=4, batch_size=4))
    regress_encoding(root, layer=layer)
distributed.stop()
