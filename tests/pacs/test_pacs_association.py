"""C-STORE: every file in its own transfer syntax; a refusal is one line with the number of stored objects."""

import pytest
from made import prediction_of, scan_of, series
from orthanc_server import free_port
from pydicom import dcmread
from pydicom.uid import CTImageStorage, JPEGLSLossless
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from ildfv.dicom_output.write import write_objects
from ildfv.errors import InputError, OutOfReachError
from ildfv.pacs.address import EntityAddress
from ildfv.pacs.association import Entity

ALL = {ComprehensiveSRStorage: None, SecondaryCaptureImageStorage: None}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    root = tmp_path_factory.mktemp("objects")
    series(root / "ct", m=3)
    scan = scan_of(root / "ct")
    return write_objects(root / "out", prediction_of(scan, maps=False), scan.dicom)


@pytest.fixture
def listening():
    """A function that starts a server that accepts the given classes, and answers with a status from object n on."""
    servers = []

    def start(classes, refuse_from: int = 99, status: int = 0xA700):
        received = []

        def store(event) -> int:
            if len(received) + 1 >= refuse_from:
                return status
            received.append((event.request.AffectedSOPInstanceUID, event.context.transfer_syntax))
            return 0

        entity = AE(ae_title="PACS")
        for kind, syntaxes in classes.items():
            entity.add_supported_context(kind, *([syntaxes] if syntaxes else []))
        handlers = [(evt.EVT_C_STORE, store)]
        servers.append(entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers))
        return EntityAddress("PACS", "127.0.0.1", servers[-1].socket.getsockname()[1]), received

    yield start
    for server in servers:
        server.shutdown()


def test_all_objects_are_stored_with_the_report_last(listening, objects):
    address, received = listening(ALL)
    assert Entity(address).store(objects) == len(objects) == len(received)
    assert [str(uid) for uid, _ in received] == [str(dcmread(path).SOPInstanceUID) for path in objects]
    assert objects[-1].name == "report.dcm"


def test_a_file_is_sent_in_its_own_transfer_syntax(listening, tmp_path):
    (path,) = series(tmp_path / "ct", m=1)
    compressed = dcmread(path)
    compressed.compress(JPEGLSLossless)
    compressed.save_as(path)
    address, received = listening({CTImageStorage: [JPEGLSLossless]})
    assert Entity(address).store([path]) == 1
    assert received == [(compressed.SOPInstanceUID, JPEGLSLossless)]


def test_nothing_is_sent_if_one_class_is_not_accepted(listening, objects):
    address, received = listening({SecondaryCaptureImageStorage: None})
    with pytest.raises(InputError, match="does not accept Comprehensive SR Storage in Explicit VR Little Endian: noth"):
        Entity(address).store(objects)
    assert received == []


@pytest.mark.parametrize(("first", "stored"), [(1, "0 of 6 objects are stored"), (4, "3 of 6 objects are stored; run")])
def test_a_full_disk_of_the_server_gives_a_one_line_error(listening, objects, first, stored):
    address, received = listening(ALL, refuse_from=first)
    with pytest.raises(InputError, match=rf"refused \S+ with status 0xA700, out of resources \({stored}"):
        Entity(address).store(objects)
    assert len(received) == first - 1


def test_an_unreachable_entity_gives_a_one_line_error(objects):
    port = free_port()
    with pytest.raises(
        OutOfReachError,
        match=rf"^dicom://PACS@127.0.0.1:{port} must be reachable, got no association: check host and port$",
    ):
        Entity(EntityAddress("PACS", "127.0.0.1", port)).store(objects)


def test_our_title_comes_from_the_environment_and_is_checked(listening, objects, monkeypatch):
    address, received = listening(ALL)
    monkeypatch.setenv("ILDFV_AET", "A" * 17)
    with pytest.raises(InputError, match="ILDFV_AET must have 1 to 16 characters, got 17"):
        Entity(address).store(objects)
    assert received == []
