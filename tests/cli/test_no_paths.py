"""`prepare --no-paths` prints nothing that may identify a patient; only its owner can read prepare.json."""

import json
import stat

import numpy as np
import pytest
from command_line import ildfv

nibabel = pytest.importorskip("nibabel")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def scans(tmp_path):
    """Folders named after a patient: a scan without lung, a file that is not a scan, an ignored file, and codes."""
    folder = tmp_path / "MILLER^ANNA"
    folder.mkdir()
    image = nibabel.Nifti1Image(np.zeros((32, 32, 4), np.int16), np.diag([4.0, 4.0, 5.0, 1.0]))
    nibabel.save(image, folder / "MILLER.nii.gz")
    (folder / "ANNA.nii").write_bytes(b"no NIfTI")
    (folder / "MILLER.txt").write_text("a letter")
    (tmp_path / "codes.toml").write_text("[codes]\n0 = 'outside'\n")
    return folder


@pytest.mark.parametrize("options", [[], ["--json"], ["-v"]])
def test_no_path_or_name_is_printed(scans, tmp_path, options):
    ended = ildfv("prepare", scans, "-w", tmp_path / "w", "--no-paths", *options)
    printed = ended.stdout + ended.stderr
    for name in ("MILLER", "ANNA", str(tmp_path), "codes.toml"):
        assert name not in printed
    private = tmp_path / "w" / "prepare.json"
    assert "MILLER" in private.read_text()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    if options == ["--json"]:
        document = json.loads(ended.stdout)
        assert len(document["quarantined"]) == 2
        assert sum(left["files"] for left in document["ignored"]) >= 1
    else:
        assert "2 files quarantined" in ended.stdout
