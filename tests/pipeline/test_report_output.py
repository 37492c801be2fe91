"""`report` replaces reports and no other files."""

import pytest

from ildfv.errors import InputError
from ildfv.pipeline.report import make_report


@pytest.mark.parametrize("name", ["workspace.toml", "folds.json", "slices/manifest.json"])
def test_a_report_does_not_replace_files_of_the_workspace(root, name):
    before = (root / name).read_bytes()
    with pytest.raises(InputError, match="must be a new file or a page written by ildfv"):
        make_report(root, root / name)
    assert (root / name).read_bytes() == before


def test_a_report_replaces_an_earlier_report(root):
    for path in (None, root / "mine.html"):
        for _ in range(2):
            make_report(root, path)
    (root / "report.html").write_text("<!doctype html><p>my own page")
    with pytest.raises(InputError, match="got another file"):
        make_report(root)
