"""A small predictor, and a real Orthanc on loopback."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "pipeline"), str(HERE.parent / "dicom_output")]

USER, PASSWORD = "ildfv", "s3cret-CANARY"
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = next(iter(sorted(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb.so*"))), None)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory) -> Path:
    """The folder of a predictor with a Fisher head."""
    from dataclasses import replace

    from small import make_workspace
    from test_regions import LUNG

    from ildfv.pipeline.encode import encode_slices
    from ildfv.pipeline.export import export_predictor
    from ildfv.pipeline.regress import regress_encoding

    root = tmp_path_factory.mktemp("study")
    workspace = make_workspace(root / "study")
    encode_slices(workspace.root, replace(LUNG, region="slice"))
    regress_encoding(workspace.root, layer="conv1")
    export_predictor(workspace.root, root / "predictor", layer="conv1")
    return root / "predictor"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    for name in ("USER", "PASSWORD", "TOKEN", "CREDENTIALS"):
        monkeypatch.delenv(f"ILDFV_PACS_{name}", raising=False)


class Orthanc:
    """A running Orthanc: addresses of its services, and its own REST interface for comparison."""

    def __init__(self, http: int, dicom: int, log: Path):
        self.log = log
        self.web = f"127.0.0.1:{http}/dicom-web"
        self.entity = f"dicom://ORTHANC@127.0.0.1:{dicom}"
        self._rest = f"http://127.0.0.1:{http}"

    def rest(self, path: str, data: bytes | None = None):
        """The JSON answer of Orthanc's REST interface."""
        request = urllib.request.Request(f"{self._rest}{path}", data=data)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def upload(self, folder: Path) -> None:
        """Stores all files of a folder."""
        for path in sorted(folder.rglob("*.dcm")):
            self.rest("/instances", path.read_bytes())

    def instances(self) -> dict[str, str]:
        """SOPInstanceUID → modality of everything that is stored."""
        found = {}
        for series in self.rest("/series?expand"):
            for instance in series["Instances"]:
                tags = self.rest(f"/instances/{instance}/simplified-tags")
                found[tags["SOPInstanceUID"]] = tags["Modality"]
        return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def orthanc(tmp_path):
    """An empty Orthanc with DICOMweb on free ports; the test is skipped where it is not installed."""
    if ORTHANC is None or PLUGIN is None:
        pytest.skip("needs Orthanc: apt install orthanc orthanc-dicomweb")
    http, dicom = free_port(), free_port()
    folder = tmp_path / "orthanc"
    folder.mkdir()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "HttpServerEnabled": True,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomServerEnabled": True,
        "DicomAet": "ORTHANC",
        "DicomPort": dicom,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = folder / "log"
    with log.open("wb") as file:
        environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        server = subprocess.Popen([ORTHANC, folder / "orthanc.json"], stdout=file, stderr=file, env=environment)
    try:
        found = Orthanc(http, dicom, log)
        _wait(found, server)
        yield found
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(orthanc: Orthanc, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, orthanc.log.read_text()
        try:
            orthanc.rest("/system")
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"Orthanc must answer within 60 s: {orthanc.log.read_text()}")
