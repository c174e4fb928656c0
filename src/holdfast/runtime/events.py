"""Events for whoever runs the fleet; the program decides where and how they are written."""

from __future__ import annotations

# structlog is loaded at the first event: it is a quarter of the time of `holdfast --help`.


def debug(event: str, **fields: object) -> None:
    """For whoever asked for more with `-v`."""
    import structlog

    structlog.get_logger().debug(event, **fields)


def info(event: str, **fields: object) -> None:
    """What a run did."""
    import structlog

    structlog.get_logger().info(event, **fields)


def warning(event: str, **fields: object) -> None:
    """What a run got over, and somebody may want to look into."""
    import structlog

    structlog.get_logger().warning(event, **fields)


def error(event: str, **fields: object) -> None:
    """What a run could not do."""
    import structlog

    structlog.get_logger().error(event, **fields)
