"""Processors of this program: bound to, paid for, and nested, in trees that the tests make."""

import os
from pathlib import Path

import pytest

from thorax.processors import group, processors, quota

V2 = "30 23 0:26 {shown} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 30 0:27 {shown} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)


def tree(root: Path, *, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """Return a folder that stands for /, with what Linux tells of control groups."""
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text("23 1 0:21 / / rw - ext4 /dev/sda rw\n" + mounts)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("max 100000\n", 8), ("200000 100000\n", 2), ("150000 100000\n", 2), ("1000 100000\n", 1),
        ("9900000 100000\n", 8), ("25000 50000\n", 1), ("", 8), ("nonsense\n", 8), ("0 0\n", 8),
    ],
)  # fmt: skip
def test_a_container_of_version_2_is_held_to_its_limit(
    tmp_path: Path, limit: str, count: int
) -> None:
    root = tree(tmp_path, groups="0::/\n", mounts=V2.format(shown="/"), files={"cpu.max": limit})
    assert processors(root) == count


def test_the_smallest_limit_along_the_path_counts(tmp_path: Path) -> None:
    files = {
        "pods/cpu.max": "600000 100000\n",
        "pods/one/cpu.max": "300000 100000\n",
        "pods/one/main/cpu.max": "max 100000\n",
        "pods/two/cpu.max": "100000 100000\n",
    }
    root = tree(tmp_path, groups="0::/pods/one/main\n", mounts=V2.format(shown="/"), files=files)
    assert quota(root) == 3.0
    assert processors(root) == 3


def test_a_path_is_found_below_the_group_that_is_mounted(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        groups="0::/docker/abc/job\n",
        mounts=V2.format(shown="/docker/abc"),
        files={"cpu.max": "500000 100000\n", "job/cpu.max": "400000 100000\n"},
    )
    assert processors(root) == 4


@pytest.mark.parametrize(
    ("shown", "place"),
    [("/", "docker/abc/"), ("/docker/abc", ""), ("/../..", ""), ("/elsewhere", "")],
)
def test_version_1_has_a_quota_and_a_period(tmp_path: Path, shown: str, place: str) -> None:
    folder = f"cpu,cpuacct/{place}"
    root = tree(
        tmp_path,
        groups="4:memory:/\n3:cpu,cpuacct:/docker/abc\n0::/\n",
        mounts=V1.format(shown=shown),
        files={
            f"{folder}cpu.cfs_quota_us": "250000\n",
            f"{folder}cpu.cfs_period_us": "100000\n",
            "cpuset/cpu.cfs_quota_us": "100000\n",
            "cpuset/cpu.cfs_period_us": "100000\n",
        },
    )
    assert processors(root) == 3


def test_version_1_without_a_quota_says_minus_one(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    root = tree(tmp_path, groups="3:cpu,cpuacct:/\n", mounts=V1.format(shown="/"), files=files)
    assert quota(root) is None


def test_a_mount_with_blanks_in_its_name_is_found(tmp_path: Path) -> None:
    mounts = r"30 23 0:26 / /sys/fs/cgroup/my\040groups rw - cgroup2 cgroup2 rw" + "\n"
    root = tree(
        tmp_path, groups="0::/\n", mounts=mounts, files={"my groups/cpu.max": "100000 100000\n"}
    )
    assert processors(root) == 1


def test_a_binding_counts_where_it_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    root = tree(
        tmp_path, groups="0::/\n", mounts=V2.format(shown="/"), files={"cpu.max": "200000 100000\n"}
    )
    assert processors(root) == 1


def test_where_linux_tells_nothing_the_binding_is_all(tmp_path: Path) -> None:
    assert processors(tmp_path) == 8
    assert group(tmp_path) == ""


def test_no_module_counts_processors_by_itself() -> None:
    source = Path(__file__).resolve().parents[1] / "src/thorax"
    counting = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(name in path.read_text("utf-8") for name in ("cpu_count", "sched_getaffinity"))
    }
    # The second one says which processors a rank is bound to, not how many may be used.
    assert counting == {"processors.py", "training/processors.py"}
