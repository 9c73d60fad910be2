"""The example's shop has the pages it claims, and all can be reached by its links."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

SHOPSERVER = Path(__file__).parent.parent / "example_project" / "shopserver.py"


@pytest.fixture(scope="module")
def shop() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shopserver", SHOPSERVER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_can_be_reached(shop: ModuleType) -> None:
    seen, todo, links = {"/"}, ["/"], 0
    while todo:
        html = shop.render(todo.pop())
        assert html is not None
        for path in re.findall(r'href="([^"]+)"', html):
            links += 1
            if path not in seen:
                seen.add(path)
                todo.append(path)
    assert seen == set(shop.page_paths())
    assert links > 10 * len(seen), "most links should be duplicates"


def test_number_of_pages(shop: ModuleType) -> None:
    paths = shop.page_paths()
    assert len(paths) == len(set(paths)) == 2000
    assert len(shop.product_paths()) == 1900


def test_no_page_beyond_the_last(shop: ModuleType) -> None:
    assert shop.render("/category/belts?page=3") is not None
    assert shop.render("/category/belts?page=4") is None
    assert shop.render("/product/0") is None
    assert shop.render("/product/1901") is None
