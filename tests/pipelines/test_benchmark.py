"""The benchmark of the pipelines runs: a small one, end to end."""

import json

import pytest

from tests.test_benchmarks import run_benchmark


@pytest.mark.slow
def test_pipelines(tmp_path):
    result = tmp_path / "result.json"
    table = run_benchmark(
        "pipelines", "--items", "300", "--repeat", "1", "--json", str(result), "--variants",
        "scrapy-redis RedisPipeline", "RedisStreamPipeline", "JsonLinesPipeline",
    )  # fmt: skip
    assert all(rate > 0 for [rate] in json.loads(result.read_text()).values())
    assert "× scrapy-redis RedisPipeline |" in table
