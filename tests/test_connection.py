"""From settings to an address."""

from __future__ import annotations

from pathlib import Path

import pytest
from scrapy import Request, Spider
from scrapy.settings import Settings

from crawlo_scrapy import connection
from crawlo_scrapy.config import CrawloConfig
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.acl import worker_rule
from crawlo_scrapy.store.client import Address, Tls
from tests.config.support import final
from tests.crawling import crawl
from tests.servers import RedisSentinel
from tests.site import Site


def address(**settings: object) -> Address:
    return connection.address(Settings(settings))


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (["a:7000", "b:7001"], ("a:7000", "b:7001")),
        ("a:7000, b:7001", ("a:7000", "b:7001")),
        ([("a", 7000), ["b", 7001]], ("a:7000", "b:7001")),
        ([{"host": "a", "port": 7000}], ("a:7000",)),
        (["[::1]:7000"], ("[::1]:7000",)),
    ],
)
def test_lists_of_addresses(given: object, places: tuple[str, ...]) -> None:
    assert address(REDIS_CLUSTER_NODES=given).cluster_nodes == places
    assert address(REDIS_SENTINEL_URLS=given).sentinels == places


def test_sentinels() -> None:
    found = address(
        REDIS_SENTINEL_URLS=["redis://:s3cr3t@a:1"],
        REDIS_SENTINEL_SERVICE="main",
        REDIS_SENTINEL_USER="u",
        REDIS_SENTINEL_PASSWORD="s3cr3t",
        REDIS_USER="w",
        REDIS_PASSWORD="p",
        REDIS_DB=3,
    )
    assert (found.service, found.username, found.password, found.db) == ("main", "w", "p", 3)
    assert (found.sentinel_username, found.sentinel_password) == ("u", "s3cr3t")
    assert str(found) == "main of Sentinels a:1"


def test_sentinels_and_a_cluster_do_not_go_together() -> None:
    with pytest.raises(SettingError, match="REDIS_SENTINEL_URLS and REDIS_CLUSTER_NODES"):
        address(REDIS_SENTINEL_URLS="a:1", REDIS_CLUSTER_NODES="b:2")


def test_tls(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert address(REDIS_HOST="h").tls is None
    assert address(REDIS_TLS=True).tls == Tls()
    assert address(REDIS_URL="rediss://h", REDIS_TLS_VERIFY=False).tls == Tls(verify=False)
    # Who names a certificate wants TLS.
    assert address(REDIS_TLS_CA_FILE=str(file)).tls == Tls(ca_file=str(file))
    found = address(REDIS_TLS_CERT_FILE=file, REDIS_TLS_KEY_FILE=file, REDIS_TLS_CHECK_HOSTNAME=0)
    assert found.tls == Tls(cert_file=str(file), key_file=str(file), check_hostname=False)


@pytest.mark.parametrize("name", ["CA", "CERT", "KEY"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"REDIS_TLS_{name}_FILE is .*nothing\.pem"):
        address(**{f"REDIS_TLS_{name}_FILE": tmp_path / "nothing.pem"})


@pytest.mark.parametrize("many", ["REDIS_SENTINEL_URLS", "REDIS_CLUSTER_NODES"])
class TestPlaces:
    """What comes from a higher place wins."""

    def test_over_a_server(self, many: str) -> None:
        for settings in (
            final({"REDIS_HOST": "h", "REDIS_URL": "redis://u", many: "a:1"}),
            final({"REDIS_HOST": "h"}, cmdline={many: "a:1"}),
        ):
            assert "a:1" in str(connection.address(settings))

    @pytest.mark.parametrize(
        "one", [{"REDIS_URL": "redis://h"}, {"REDIS_HOST": "h"}], ids=["url", "host"]
    )
    def test_a_server_from_a_higher_place(self, many: str, one: dict[str, str]) -> None:
        settings = final({many: "a:1"}, cmdline=one)
        found = connection.address(settings)
        assert str(found) in ("h", "h:6379/0")

    def test_the_other_kind(self, many: str) -> None:
        other = {"REDIS_SENTINEL_URLS", "REDIS_CLUSTER_NODES"} - {many}
        settings = final(dict.fromkeys(other, "b:2"), cmdline={many: "a:1"})
        assert "a:1" in str(connection.address(settings))

    def test_a_config_for_a_crawl(self, many: str) -> None:
        """Its default of redis_host is not what the user said."""
        config = CrawloConfig.distributed(**{many.lower(): ["a:1"]})
        assert "a:1" in str(connection.address(final(config.to_dict())))


class Pages(Spider):
    name = "pages"

    async def start(self):
        yield Request(self.site + "/ok/1")

    def parse(self, response):
        if response.url.endswith("/1"):
            yield Request(self.site + "/ok/2")


async def test_a_crawl_of_crawlo_config_with_sentinels(site: Site, project: str) -> None:
    with RedisSentinel(config={"user": f"worker on >pw {worker_rule()}"}) as sentinel:
        config = CrawloConfig.distributed(
            redis_username="worker",
            redis_password="pw",
            sentinel_urls=[f"{host}:{port}" for host, port in sentinel.sentinels],
            sentinel_service="mymaster",
            project_name=project,
            download_delay=0,
            TELNETCONSOLE_ENABLED=False,
        )
        crawler = await crawl(Pages, config.to_dict(), site=site.url)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert sorted(site.hits) == ["/ok/1", "/ok/2"]
