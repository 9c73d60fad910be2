from tests.config.conftest import clean_environment

__all__ = ["clean_environment"]
