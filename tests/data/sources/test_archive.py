"""Archives that are somebody else's: nothing is written, nothing is followed, nothing is believed."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.errors import DataError
from albor.data.sources.archive import members
from tests.data.sources.support import header, put, tar_gz, zipped


def contents(path: Path) -> dict[str, bytes]:
    return {member.path: member.read() for member in members(path) if member.kind == "file"}


names = st.text("abc_/.é", min_size=1, max_size=150).filter(lambda name: not name.endswith("/"))


@given(files=st.dictionaries(names, st.binary(max_size=2000), min_size=1), pack=st.sampled_from([tar_gz, zipped]))
def test_what_was_packed_comes_out_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], pack: Callable[..., bytes]
) -> None:
    path = put(tmp_path_factory.getbasetemp(), "archive", pack(*files.items()))
    assert [(m.path, m.size, m.read()) for m in members(path)] == [
        (name, len(content), content) for name, content in files.items()
    ]


def test_members_that_are_not_read_are_passed_over(tmp_path: Path) -> None:
    big = b"\1" * 3_000_000
    path = put(tmp_path, "archive", tar_gz(("a", big), ("b", b"b"), ("c", big), ("d", b"d")))
    assert [m.read() for m in members(path) if m.size < 10] == [b"b", b"d"]


def test_links_and_devices_are_told_apart_from_files(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "archive.tar.gz",
        tar_gz(
            header("directory", tarfile.DIRTYPE),
            header("symbolic", tarfile.SYMTYPE, "/etc/passwd"),
            header("hard", tarfile.LNKTYPE, "../../x"),
            header("pipe", tarfile.FIFOTYPE),
            header("device", tarfile.CHRTYPE),
            ("file", b""),
        ),
    )
    assert [(m.path, m.kind) for m in members(path)] == [
        ("symbolic", "link"),
        ("hard", "link"),
        ("pipe", "device"),
        ("device", "device"),
        ("file", "file"),
    ]
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert [
        (m.path, m.kind) for m in members(put(tmp_path, "a.zip", zipped((link, b"/etc"), ("dir/", b""), ("f", b""))))
    ] == [
        ("link", "link"),
        ("f", "file"),
    ]


ZEROS = b"\0" * (65 << 20)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(lambda: tar_gz(("p-1/a.txt", ZEROS)), id="tar"),
        pytest.param(lambda: zipped(("p-1/a.txt", ZEROS)), id="zip"),
        pytest.param(lambda: gzip.compress(ZEROS, 1), id="zeros after the end of the archive"),
    ],
)
def test_bombs_are_refused(tmp_path: Path, bomb: Callable[[], bytes]) -> None:
    path = put(tmp_path, "bomb-1.0", bomb())
    with pytest.raises(DataError, match=r"bomb-1\.0 unpacks to an absurd size") as refused:
        list(members(path))
    assert "packages" in str(refused.value.help)


def test_a_header_that_asks_for_memory_is_refused(tmp_path: Path) -> None:
    long_name = header("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    long_name.size = 40 << 20
    path = put(tmp_path, "headers", gzip.compress(long_name.tobuf() + b"a" * (40 << 20), 1))
    with pytest.raises(DataError, match="a header of 41943040 bytes"):
        list(members(path))


def test_headers_upon_headers_are_refused(tmp_path: Path) -> None:
    content = b"11 path=ab\n"
    extended = header("x", tarfile.XHDTYPE)
    extended.size = len(content)
    block = extended.tobuf() + content.ljust(512, b"\0")
    path = put(tmp_path, "headers", gzip.compress(block * 2000, 1))
    with pytest.raises(DataError, match="cannot be read as an archive"):
        list(members(path))


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("albor.data.sources.archive.MAX_MEMBERS", 3)
    assert len(list(members(put(tmp_path, "three", tar_gz(*((str(n), b"") for n in range(3))))))) == 3
    with pytest.raises(DataError, match="more than 3 members"):
        list(members(put(tmp_path, "four", tar_gz(*((str(n), b"") for n in range(4))))))


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@given(share=st.floats(0, 0.99))
def test_a_truncated_archive_is_refused(
    tmp_path_factory: pytest.TempPathFactory, pack: Callable[..., bytes], share: float
) -> None:
    whole = pack(("a.py", bytes(range(256)) * 20), ("b.py", b"b" * 5000))
    path = put(tmp_path_factory.getbasetemp(), "cut", whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="cut cannot be read as an archive"):
        contents(path)


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_a_damaged_member_is_refused(tmp_path: Path, pack: Callable[..., bytes]) -> None:
    whole = bytearray(pack(("a.py", bytes(range(256)) * 20)))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(DataError, match="cannot be read as an archive"):
        contents(put(tmp_path, "damaged", bytes(whole)))


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    plain = bytearray(gzip.decompress(tar_gz(("a.py", b"a"), ("b.py", b"b"))))
    plain[1024 + 3] ^= 0xFF  # in the second name: its checksum is wrong now
    with pytest.raises(DataError, match="a damaged header"):
        contents(put(tmp_path, "damaged", gzip.compress(bytes(plain))))


def test_a_tar_without_its_last_blocks_is_read(tmp_path: Path) -> None:
    plain = gzip.decompress(tar_gz(("a.py", b"a")))[:1024]
    assert contents(put(tmp_path, "short", gzip.compress(plain))) == {"a.py": b"a"}


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    whole = bytearray(zipped(("a.py", b"a")))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        whole[whole.index(signature) + flags] |= 1
    with pytest.raises(DataError, match="encrypted"):
        contents(put(tmp_path, "locked.zip", bytes(whole)))


@pytest.mark.parametrize("content", [b"", b"\x1f", b"BZh91AY", b"plain text", b"PK", b"\x1f\x8b"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="cannot be read as an archive"):
        list(members(put(tmp_path, "x", content)))


@given(noise=st.binary(max_size=3000))
def test_noise_is_refused_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = put(tmp_path_factory.getbasetemp(), "noise", gzip.compress(noise))
    try:
        contents(path)
    except DataError:
        return
    assert not noise.strip(b"\0")


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@given(method=st.sampled_from(METHODS), place=st.integers(0, 400), noise=st.binary(min_size=1, max_size=20))
def test_a_damaged_zip_is_refused_or_read_whatever_packed_it(
    tmp_path_factory: pytest.TempPathFactory, method: int, place: int, noise: bytes
) -> None:
    content = bytes(range(256)) * 4
    whole = bytearray(zipped(("a.py", content), method=method))
    place %= len(whole)
    whole[place : place + len(noise)] = noise
    try:
        contents(put(tmp_path_factory.getbasetemp(), "noisy", bytes(whole)))
    except DataError as error:
        assert error.help


def test_a_damaged_lzma_stream_is_refused(tmp_path: Path) -> None:
    whole = bytearray(zipped(("a.py", bytes(range(256)) * 4), method=zipfile.ZIP_LZMA))
    start = whole.index(b"a.py") + 4
    whole[start + 4] = 0xFF  # the filter's properties
    with pytest.raises(DataError, match="cannot be read as an archive"):
        contents(put(tmp_path, "damaged", bytes(whole)))


def test_a_zip_may_state_a_smaller_size_and_is_still_bounded(tmp_path: Path) -> None:
    whole = bytearray(zipped(("a.py", b"\0" * 100_000)))
    with zipfile.ZipFile(io.BytesIO(bytes(whole))) as archive:
        stated = archive.infolist()[0].file_size.to_bytes(4, "little")
    while (place := whole.find(stated)) >= 0:
        whole[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(DataError, match="CRC"):
        contents(put(tmp_path, "liar", bytes(whole)))
