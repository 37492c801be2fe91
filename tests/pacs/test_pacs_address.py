"""Addresses and credentials: ambiguous ones are refused, and no message repeats a password."""

import pytest

from ildfv.errors import InputError
from ildfv.pacs.address import EntityAddress, WebAddress, is_address, parsed
from ildfv.pacs.credentials import Credentials, credentials
from ildfv.pacs.predict import predict_and_deliver

SECRET = "s3cret-CANARY"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dicomweb://pacs.example/dw/studies/1.2", WebAddress("https://pacs.example/dw", "1.2")),
        ("dicomweb://pacs.example:8443/studies/1.2/series/3.4", WebAddress("https://pacs.example:8443", "1.2", "3.4")),
        ("dicomweb://127.0.0.1:8042/dicom-web/studies/1.2/", WebAddress("http://127.0.0.1:8042/dicom-web", "1.2")),
        ("dicomweb://[::1]:80/studies/1.2", WebAddress("http://[::1]:80", "1.2")),
        ("dicomweb://localhost/dw", WebAddress("http://localhost/dw")),
        ("http://pacs.example/dw/studies/1.2", WebAddress("http://pacs.example/dw", "1.2")),
        ("https://127.0.0.1/dw/studies/1.2", WebAddress("https://127.0.0.1/dw", "1.2")),
        ("dicom://ORTHANC@127.0.0.1:4242", EntityAddress("ORTHANC", "127.0.0.1", 4242)),
        ("dicom://Pacs_1@host.example:104/", EntityAddress("Pacs_1", "host.example", 104)),
    ],
)
def test_an_address_names_server_study_and_series(text, expected):
    assert is_address(text)
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dicomweb://pacs/studies/1.2/instances/3", "must end with /studies/UID"),
        ("dicomweb://pacs/studies", "must end with /studies/UID"),
        ("dicomweb://pacs/studies/1.2;rm", "a UID must have at most 64 digits and dots"),
        ("dicomweb://pacs/studies/1.2?x=1", "must end after the path"),
        ("dicomweb:///studies/1.2", "must contain a host name, got none"),
        ("dicomweb://pacs:port/studies/1.2", "must be a valid URL"),
        ("dicom://127.0.0.1:4242", "must be dicom://AET@host:port, got"),
        ("dicom://A@host", "must be dicom://AET@host:port, got"),
        (f"dicom://{'A' * 17}@host:1", "the AET in dicom://AET@host:port must have at most 16 characters"),
        (f"https://me:{SECRET}@pacs/studies/1.2", "must not contain credentials: set ILDFV_PACS_USER"),
        (f"dicom://A:{SECRET}@host:104", "without a password"),
    ],
)
def test_other_addresses_give_a_one_line_error_without_the_password(text, reason):
    with pytest.raises(InputError) as raised:
        parsed(text)
    assert reason in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_path_is_not_read_as_an_address():
    assert not is_address("/data/scan")
    assert not is_address("scans/dicom")
    assert not is_address("C://scan")


@pytest.mark.parametrize(
    ("sources", "store", "reason"),
    [
        (["ct"], True, "--store needs a destination for scans on disk"),
        (["ct", "dicom://A@h:1"], False, "dicom://A@h:1 has no study: add /studies/UID to read one, or --store"),
        (["ct", "dicom://A@h:1", "dicomweb://h"], True, "--store must have at most one destination, got 2"),
        (["dicomweb://h"], True, "predict needs a scan"),
    ],
)
def test_sources_and_destinations_must_fit_together(sources, store, reason):
    with pytest.raises(InputError, match=reason):
        predict_and_deliver(sources, "predictor", store=store)


def test_credentials_come_from_the_environment(monkeypatch):
    assert credentials() == Credentials()
    monkeypatch.setenv("ILDFV_PACS_USER", "me")
    monkeypatch.setenv("ILDFV_PACS_PASSWORD", SECRET)
    assert credentials() == Credentials("me", SECRET)
    assert SECRET not in repr(credentials())


def test_credentials_come_from_a_file(monkeypatch, tmp_path):
    path = tmp_path / "pacs.toml"
    path.write_text(f'token = "{SECRET}"\n')
    monkeypatch.setenv("ILDFV_PACS_CREDENTIALS", str(path))
    assert credentials() == Credentials(token=SECRET)
    path.write_text(f'user = "me"\npassword = "{SECRET}"\n')
    assert credentials() == Credentials("me", SECRET)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"password = {SECRET}", "got other content in"),
        (f'pass = "{SECRET}"', "got other keys in"),
        (f'password = "{SECRET}"', "must have both a user and a password, got only one"),
        (f'token = "{SECRET}"\nuser = "me"', "got both"),
        ("token = 5", "as strings"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_gives_a_one_line_error_without_its_content(monkeypatch, tmp_path, content, reason):
    path = tmp_path / "pacs.toml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("ILDFV_PACS_CREDENTIALS", str(path))
    with pytest.raises(InputError) as raised:
        credentials()
    assert reason in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_file_and_the_environment_at_once_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ILDFV_PACS_CREDENTIALS", str(tmp_path / "pacs.toml"))
    monkeypatch.setenv("ILDFV_PACS_TOKEN", SECRET)
    with pytest.raises(InputError, match="got ILDFV_PACS_TOKEN as well: unset ILDFV_PACS_CREDENTIALS, or unset"):
        credentials()
