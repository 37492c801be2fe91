"""The settings of a new workspace are checked before anything is written."""

import pytest

from ildfv.errors import InputError
from ildfv.pipeline.workspace import Workspace


def test_an_invalid_setting_of_a_new_workspace_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="seed: Input should be greater than or equal to 0, got -1"):
        Workspace.open_or_create(tmp_path / "study", version="test", seed=-1)
    assert not (tmp_path / "study").exists()
