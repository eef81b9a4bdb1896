"""What ``python -m release`` makes: the same whenever and wherever it is made, and of nothing but what was locked."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from broker import __version__
from release import environment, python
from release.environment import Unfit
from tests.fakes.dist import DIST, ROOT, STAGE, made

TIME = 1_700_000_000
_ANOTHER = """
import os, sys
os.umask(0o077)
from pathlib import Path
from broker import __version__
from release import environment, python
root, into = map(Path, sys.argv[1:])
wheel = python.distributions(root, into, time={time})
python.one_file(wheel, into / "zerotrust.pyz", time={time})
environment.make(root, into / "environment", wheel=wheel, time={time})
"""
_PACK = """
import sys
from pathlib import Path
from release.packages import KINDS, pack
recipe, stage, into = map(Path, sys.argv[1:])
for kind in KINDS:
    pack(recipe, kind, stage=stage, into=into, version="{version}", time={time})
"""


def source(folder: Path) -> Path:
    """A copy of what is built, without its history; the lock names one package with a wheel and the one without."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "broker", "zerotrust_kerberos", "man"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copied(ROOT / name, folder / name)
    (folder / "requirements").mkdir()
    lines = (ROOT / environment.LOCK).read_text().splitlines(keepends=True)
    chosen = [line for line in lines if line.startswith(("click==", "gssapi=="))]
    (folder / environment.LOCK).write_text("".join(chosen))
    return folder


def everything(folder: Path) -> dict[str, tuple[int, float, bytes]]:
    """Mode, time and content of each file and folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime,
            b"" if path.is_dir() or path.is_symlink() else path.read_bytes(),
        )
        for path in folder.rglob("*")
    }


def test_the_same_source_gives_the_same_bytes_in_another_folder_another_zone_and_by_another_hand(
    tmp_path: Path,
) -> None:
    results = []
    for name, zone in (("here", "UTC"), ("there/deeper", "Asia/Tokyo")):
        folder = tmp_path / name
        (folder / "source").mkdir(parents=True)
        root, into = source(folder / "source"), folder / "dist"
        if zone == "UTC":
            wheel = python.distributions(root, into, time=TIME)
            python.one_file(wheel, into / "zerotrust.pyz", time=TIME)
            environment.make(root, into / "environment", wheel=wheel, time=TIME)
        else:
            command = [sys.executable, "-c", _ANOTHER.format(time=TIME), root, into]
            subprocess.run(command, cwd=ROOT, env={**os.environ, "TZ": zone}, check=True, stdout=subprocess.DEVNULL)
        results.append(
            everything(into / "environment/opt")
            | {f.name: (0, 0.0, f.read_bytes()) for f in into.iterdir() if f.is_file()}
        )
        assert not [name for name, entry in results[-1].items() if str(tmp_path).encode() in entry[2]]
    assert results[0].keys() == results[1].keys()
    assert [name for name in results[0] if results[0][name] != results[1][name]] == []
    # What was compiled here does not tell where: no debugging sections, and no number that is made of them.
    compiled = [content for name, (_, _, content) in results[0].items() if "/gssapi/" in name and name.endswith(".so")]
    assert compiled
    assert not [content for content in compiled if b".debug_info" in content or b".note.gnu.build-id" in content]
    assert {"zerotrust.pyz"} < results[0].keys()


def test_a_package_is_the_same_bytes_at_another_time_from_another_folder_another_zone_and_by_another_hand(
    tmp_path: Path,
) -> None:
    stage, into = tmp_path / "deeper/stage", tmp_path / "dist"
    shutil.copytree(STAGE / "rest", stage / "rest")
    into.mkdir()
    time = int((STAGE / "rest").stat().st_mtime)
    script = _PACK.format(version=__version__, time=time)
    command = [sys.executable, "-c", script, stage / "rest/release/client.yaml", stage, into]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "TZ": "Asia/Tokyo"}, umask=0o077, check=True)
    again = sorted(into.iterdir())
    assert [file.suffix for file in again] == [".rpm", ".deb"]
    assert [file.name for file in again if file.read_bytes() != (DIST / file.name).read_bytes()] == []


@pytest.mark.parametrize(
    ("version", "content", "said"),
    [
        ("1.0", b"changed = True\n", "is not what its wheel said"),
        ("2.0", b"kept = True\n", "1.0 is installed, 2.0 is locked"),
    ],
    ids=["a file was changed", "another version"],
)
def test_what_is_not_as_it_was_locked_is_not_given_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, content: bytes, said: str
) -> None:
    told = base64.urlsafe_b64encode(hashlib.sha256(b"kept = True\n").digest()).rstrip(b"=").decode()
    information = tmp_path / "planted-1.0.dist-info"
    information.mkdir()
    (tmp_path / "planted.py").write_bytes(content)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (information / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (information / "RECORD").write_text(f"planted.py,sha256={told},12\nplanted-1.0.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "requirements").mkdir()
    (tmp_path / environment.LOCK).write_text(f"planted=={version} \\\n")
    with pytest.raises(Unfit, match=said):
        environment.make(tmp_path, tmp_path / "stage", wheel=tmp_path / "none.whl", time=TIME)


def test_a_package_that_is_locked_and_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / environment.LOCK).write_text("never-there==1.0\n")
    with pytest.raises(Unfit, match="never-there is locked and not installed"):
        environment.make(tmp_path, tmp_path / "stage", wheel=tmp_path / "none.whl", time=TIME)


def listed(package: Path) -> set[str]:
    """The files of a package, but for what each kind has in a place of its own."""
    if package.suffix == ".deb":
        lines = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
        found = {line.split()[5].removeprefix(".") for line in lines.splitlines() if not line.startswith("d")}
    else:
        found = set(rpm("--query", "--list", "--package", package).splitlines()) - {
            line.split()[0]
            for line in rpm("--query", "--dump", "--package", package).splitlines()
            if line.split()[4].startswith("04")
        }
    return {name for name in found if "/usr/share/zsh/" not in name and not name.endswith("changelog.Debian.gz")}


def rpm(*arguments: str | Path) -> str:
    return subprocess.run(["rpm", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("deb", "other"),
    [("zerotrust-broker_*.deb", "zerotrust-broker-*.rpm"), ("zerotrust_*_all.deb", "zerotrust-[0-9]*.rpm")],
)
def test_both_kinds_of_package_hold_the_same_files(deb: str, other: str) -> None:
    assert listed(made(deb)) == listed(made(other)) != set()
    assert "digests OK" in rpm("--checksig", "--nosignature", made(other))


def test_the_packages_for_rpm_name_what_they_need_and_are_put_into_a_root_and_taken_out_by_rpm(
    tmp_path: Path,
) -> None:
    needed = rpm("--query", "--requires", "--package", made("zerotrust-broker-*.rpm")).splitlines()
    assert {"/usr/bin/python3.11", "libgssapi_krb5.so.2()(64bit)"} <= set(needed)
    root = tmp_path / "root"
    # Without dependencies and scripts: there is neither a Python nor a systemd in this root.
    rpm("--root", root, "--install", "--nodeps", "--noscripts", made("zerotrust-[0-9]*.rpm"))
    assert os.readlink(root / "opt/zerotrust/bin/zerotrust") == "/usr/bin/zerotrust"  # noqa: PTH115
    assert rpm("--root", root, "--query", "--configfiles", "zerotrust") == "/etc/zerotrust/client.toml\n"
    rpm("--root", root, "--erase", "--noscripts", "zerotrust")
    assert not (root / "usr/bin/zerotrust").exists()


def test_the_checksums_are_those_of_the_files() -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=DIST, check=True)
    named = {line.split()[1] for line in (DIST / "SHA256SUMS").read_text().splitlines()}
    assert named == {file.name for file in DIST.iterdir()} - {"SHA256SUMS"}


def test_the_user_side_is_all_in_one_file_and_nothing_of_the_daemon_is() -> None:
    with zipfile.ZipFile(made("zerotrust.pyz")) as packed:
        names = {name for name in packed.namelist() if name.endswith(".py")}
    theirs = {str(file.relative_to(ROOT)) for file in (ROOT / "zerotrust_kerberos").rglob("*.py")}
    assert names - theirs == {"__main__.py"} | {name for name in names if name.startswith("broker/")}
    assert {name.split("/")[1].split("_")[0].removesuffix(".py") for name in names if name.startswith("broker/")} <= {
        "",
        "wire",
        "locked",
        "quoting",
    }
    assert theirs <= names
