from __future__ import annotations

import importlib.util
import os
import sys
from textwrap import dedent

import pytest
from scrapy.settings import Settings

from crawlo_scrapy.config import aliases, files
from crawlo_scrapy.config.files import (
    apply_config_file,
    load_config_file,
    project_settings,
)
from crawlo_scrapy.settings import SettingError


@pytest.fixture
def write(tmp_path):
    def write(text, name="config.py"):
        path = tmp_path / name
        path.write_text(dedent(text))
        return path

    return write


@pytest.mark.parametrize(
    "module", ["crawlo.config", "crawlo.core.config", "crawlo", "crawlo_scrapy.config"]
)
def test_import_paths_of_crawlo(write, module):
    path = write(f"from {module} import CrawloConfig\nconfig = CrawloConfig.standalone()\n")
    assert load_config_file(path)["RUN_MODE"] == "standalone"
    assert not [name for name in sys.modules if name.split(".")[0] == "crawlo"]
    assert importlib.util.find_spec("crawlo") is None


def test_real_crawlo_goes_first(write, tmp_path):
    package = tmp_path / "crawlo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text(
        "class CrawloConfig:\n"
        "    def to_dict(self):\n"
        "        return {'RUN_MODE': 'distributed', 'QUEUE_TYPE': 'redis', '_mode_info': 'x'}\n"
    )
    path = write("from crawlo.config import CrawloConfig\nconfig = CrawloConfig()\n")
    try:
        values = load_config_file(path)
    finally:
        for name in ("crawlo", "crawlo.config"):
            sys.modules.pop(name, None)
    assert values == {"RUN_MODE": "distributed", "ADDONS": {"crawlo_scrapy.Addon": 500}}


def test_other_modules_of_crawlo_are_refused_clearly(write):
    path = write("from crawlo.spider import Spider\n")
    with pytest.raises(SettingError, match=r"config.py, line 1: .*Scrapy's classes"):
        load_config_file(path)


def test_plain_names_win_over_config(write):
    path = write(
        """
        from crawlo.config import CrawloConfig
        config = CrawloConfig.distributed(concurrency=10, download_delay=2.0)
        CONCURRENCY = 20
        DEPTH_PRIORITY = 1
        EXTENSIONS = ["a.A"]
        not_a_setting = 5
        """
    )
    values = load_config_file(path)
    assert values["CONCURRENCY"] == 20
    assert values["DOWNLOAD_DELAY"] == 2.0
    assert values["DEPTH_PRIORITY"] == -1
    assert values["EXTENSIONS"] == {"a.A": 500}
    assert "not_a_setting" not in values
    assert values["ADDONS"] == {"crawlo_scrapy.Addon": 500}


def test_file_that_updates_its_own_names_is_converted_once(write):
    path = write(
        """
        from crawlo.config import CrawloConfig
        config = CrawloConfig.distributed(depth_priority=1)
        locals().update(config.to_dict())
        """
    )
    assert load_config_file(path)["DEPTH_PRIORITY"] == -1


def test_defaults_of_the_config_stay_below_settings_py(write):
    path = write(
        """
        from crawlo.config import CrawloConfig
        config = CrawloConfig.distributed(concurrency=5)
        """
    )
    settings = Settings({"REDIS_HOST": "10.0.0.5", "CONCURRENCY": 1, "ADDONS": {"mine.A": 1}})
    apply_config_file(settings, path)
    assert settings["REDIS_HOST"] == "10.0.0.5"
    assert settings["REDIS_PORT"] == 6379
    assert settings["CONCURRENCY"] == 5
    assert dict(settings["ADDONS"]) == {"mine.A": 1, "crawlo_scrapy.Addon": 500}


def test_neighbouring_modules_can_be_imported(write):
    write("NAME = 'shop'\n", "neighbour_of_config.py")
    path = write("from neighbour_of_config import NAME\nPROJECT_NAME = NAME\n")
    try:
        assert load_config_file(path)["PROJECT_NAME"] == "shop"
    finally:
        sys.modules.pop("neighbour_of_config")
    assert str(path.parent) not in sys.path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 5\n", "sets nothing"),
        ("CONCURRENCY = \n", r"config.py, line 1: invalid syntax"),
        ("\nCONCURRENCY = 1 / 0\n", r"config.py, line 2: ZeroDivisionError"),
        ("CONCURRENCY = 0\n", r"CONCURRENCY \(.*config.py\) is 0"),
        ("config = 5\n", "config is of type int, not a CrawloConfig"),
        (
            "from crawlo.config import CrawloConfig\n"
            "config = CrawloConfig.distributed(redis_port=0)\n",
            r"config.py: invalid configuration:\n  REDIS_PORT is 0",
        ),
        (
            "from crawlo.config import CrawloConfig as C\na = C.auto()\nb = C.auto()\n",
            "several configurations",
        ),
    ],
)
def test_errors_name_the_file(write, text, message):
    with pytest.raises(SettingError, match=message):
        load_config_file(write(text))


def test_missing_file(tmp_path):
    with pytest.raises(SettingError, match=r"cannot read .*nothing.py: No such file"):
        load_config_file(tmp_path / "nothing.py")


class TestProjectSettings:
    @pytest.fixture(autouse=True)
    def project(self, write, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delenv("SCRAPY_SETTINGS_MODULE", raising=False)
        write("[settings]\ndefault = shop_settings\n", "scrapy.cfg")
        write(
            """
            from crawlo.config import CrawloConfig
            BOT_NAME = "shop"
            CONCURRENCY = 3
            EXTENSIONS = ["crawlo.extensions.LogStatsExtension"]
            """,
            "shop_settings.py",
        )
        yield
        os.environ.pop("SCRAPY_SETTINGS_MODULE", None)
        sys.modules.pop("shop_settings", None)
        if aliases._FINDER in sys.meta_path:
            sys.meta_path.remove(aliases._FINDER)
        for name in [name for name in sys.modules if name.split(".")[0] == "crawlo"]:
            del sys.modules[name]

    def test_settings_py(self):
        settings = project_settings()
        assert settings["BOT_NAME"] == "shop"
        assert dict(settings["EXTENSIONS"]) == {"crawlo.extensions.LogStatsExtension": 500}
        assert dict(settings["ADDONS"]) == {"crawlo_scrapy.Addon": 500}

    def test_config_and_overrides(self, write):
        path = write("CONCURRENCY = 4\nBOT_NAME = 'other'\n")
        settings = project_settings(path, {"CONCURRENCY": "9"})
        assert settings["BOT_NAME"] == "other"
        assert settings["CONCURRENCY"] == "9"
        assert settings.getpriority("CONCURRENCY") == 40

    def test_module_that_is_not_there(self, write):
        write("[settings]\ndefault = nowhere.settings\n", "scrapy.cfg")
        with pytest.raises(files.ConfigFileError, match=r"nowhere.settings .*cannot be found"):
            project_settings()
